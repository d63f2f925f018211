//! What users may do, as the server shows it and as rules that give it to another one.

use super::protocol::Answer;
use crate::crypto::SecretBytes;

/// Rules of a command that changes a user. Some of them have digests of passwords.
pub(super) type Rules = Vec<SecretBytes>;

/// What a user or one of its selectors may do, word by word.
#[derive(Default)]
pub(super) struct Rights {
    keys: Rules,
    channels: Rules,
    commands: Rules,
    pub(super) selectors: Rules,
}

impl Rights {
    /// Takes a field if it is one of rights, and says whether it is. Nothing if it is one that is not understood.
    pub(super) fn take(&mut self, field: &[u8], shown: &Answer) -> Option<bool> {
        let rules = match field {
            b"keys" => &mut self.keys,
            b"channels" => &mut self.channels,
            b"commands" => &mut self.commands,
            _ => return Some(false),
        };
        // No rule has a space in it.
        let words = shown.text()?.split(|byte| *byte == b' ');
        let words = words.filter(|word| !word.is_empty());
        *rules = words.map(SecretBytes::copy_of).collect();
        Some(true)
    }

    /// A selector as a rule, and whether all of it is known.
    pub(super) fn selector(shown: &Answer) -> Option<(SecretBytes, bool)> {
        let mut rights = Self::default();
        let mut whole = true;
        for (field, shown) in fields(shown)? {
            whole &= rights.take(field, shown)?;
        }
        let rules = rights.rules();
        let words: Vec<_> = rules.iter().map(SecretBytes::expose).collect();
        let rule = [b"(", &words.join(&b' ')[..], b")"].concat();
        Some((rule.into(), whole))
    }

    /// The rules that give a user these who has none.
    pub(super) fn rules(self) -> Rules {
        // Where nothing is said, channels are as the server's settings have it.
        let channels = [SecretBytes::copy_of(b"resetchannels")];
        let channels = channels.into_iter().chain(self.channels);
        let keys = self.keys.into_iter().chain(channels);
        keys.chain(self.commands).chain(self.selectors).collect()
    }
}

/// The fields of an array of names and values.
pub(super) fn fields(answer: &Answer) -> Option<Vec<(&[u8], &Answer)>> {
    fn field(pair: &[Answer]) -> Option<(&[u8], &Answer)> {
        match pair {
            [name, shown] => Some((name.text()?, shown)),
            _ => None,
        }
    }
    answer.array()?.chunks(2).map(field).collect()
}
