//! The protocol (RESP2), as far as it is spoken here: a command is an array of texts, and has one answer.
//!
//! Lengths of the other side are bounded before memory is taken for what they announce.

use std::io::Write as _;

use crate::crypto::SecretBytes;

/// Most bytes of an answer. The longest is that of all users.
pub(super) const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Most bytes of a line: of an error, or of a number.
const MAX_LINE: usize = 16 * 1024;
/// Most levels of arrays in arrays. A user's selectors are the third.
const MAX_DEPTH: usize = 6;

/// What a server answers. Its texts are not shown: an error may quote the digest of a password.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A text, however it is written, or a number.
    Text(SecretBytes),
    /// An error.
    Refusal(Refusal),
    /// Several of them.
    Array(Vec<Self>),
    /// Nothing.
    Nil,
}

/// What a server says when it does not do as it is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal(SecretBytes);

impl Refusal {
    pub(super) fn new(text: &[u8]) -> Self {
        Self(SecretBytes::copy_of(text))
    }

    /// Its first word if that is a code: it is text of the other side's.
    pub(super) fn code(&self) -> &str {
        let mut words = self.0.expose().split(|byte| *byte == b' ');
        let word = words.next().unwrap_or_default();
        let code = (1..=16).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
        let code = code.then(|| std::str::from_utf8(word).ok()).flatten();
        code.unwrap_or("no valid code")
    }

    /// Whether the words are in it, in whatever case.
    pub(super) fn says(&self, words: &str) -> bool {
        let mut windows = self.0.expose().windows(words.len());
        windows.any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
    }
}

impl Answer {
    /// Whether it is the one that says that all is well.
    pub(super) fn is_ok(&self) -> bool {
        self.text() == Some(b"OK")
    }

    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.expose()),
            _ => None,
        }
    }

    pub(super) fn array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The texts of an array that has nothing else.
    pub(super) fn texts(&self) -> Option<Vec<&[u8]>> {
        self.array()?.iter().map(Self::text).collect()
    }
}

/// What is no answer, or one that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A command as it is sent.
pub(super) fn encode<'a>(parts: impl ExactSizeIterator<Item = &'a [u8]>) -> SecretBytes {
    let mut encoded = SecretBytes::new();
    // Writing to memory does not fail.
    let _ = write!(encoded, "*{}\r\n", parts.len());
    for part in parts {
        let _ = write!(encoded, "${}\r\n", part.len());
        encoded.extend_from_slice(part);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded
}

/// Reads an answer from the beginning of what came, and says how long it was; nothing if there is more to come.
pub(super) fn decode(came: &[u8]) -> Result<Option<(Answer, usize)>, Malformed> {
    let mut rest = came;
    let answer = next(&mut rest, 0)?;
    Ok(answer.map(|answer| (answer, came.len() - rest.len())))
}

fn next(rest: &mut &[u8], depth: usize) -> Result<Option<Answer>, Malformed> {
    let Some(line) = line(rest)? else {
        return Ok(None);
    };
    let (kind, words) = line.split_first().ok_or(Malformed)?;
    match kind {
        b'+' | b':' => Ok(Some(Answer::Text(SecretBytes::copy_of(words)))),
        b'-' => Ok(Some(Answer::Refusal(Refusal::new(words)))),
        b'$' => match length(words)? {
            Some(length) => text(rest, length),
            None => Ok(Some(Answer::Nil)),
        },
        b'*' => match length(words)? {
            Some(_) if depth == MAX_DEPTH => Err(Malformed),
            Some(count) => array(rest, count, depth),
            None => Ok(Some(Answer::Nil)),
        },
        _ => Err(Malformed),
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let seen = &rest[..rest.len().min(MAX_LINE)];
    match seen.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => {
            let line = &rest[..end];
            *rest = &rest[end + 2..];
            Ok(Some(line))
        }
        None if rest.len() >= MAX_LINE => Err(Malformed),
        None => Ok(None),
    }
}

/// A length, or nothing for `-1`.
fn length(digits: &[u8]) -> Result<Option<usize>, Malformed> {
    if digits == b"-1" {
        return Ok(None);
    }
    let number = digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| number);
    let length = digits.and_then(|digits| digits.parse().ok());
    let length = length.filter(|length| *length <= MAX_ANSWER);
    length.map(Some).ok_or(Malformed)
}

fn text(rest: &mut &[u8], length: usize) -> Result<Option<Answer>, Malformed> {
    let Some((text, after)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    match after {
        [b'\r', b'\n', after @ ..] => {
            *rest = after;
            Ok(Some(Answer::Text(SecretBytes::copy_of(text))))
        }
        [] | [b'\r'] => Ok(None),
        _ => Err(Malformed),
    }
}

fn array(rest: &mut &[u8], count: usize, depth: usize) -> Result<Option<Answer>, Malformed> {
    let mut items = Vec::new();
    for _ in 0..count {
        match next(rest, depth + 1)? {
            Some(item) => items.push(item),
            None => return Ok(None),
        }
    }
    Ok(Some(Answer::Array(items)))
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
