//! The private keys as a text, for a safe place outside of the cluster.
//!
//! ```text
//! keystead-sealing-private-keys/v1
//! installation <installation id>
//! key <sealing key id> <seed, base64>          newest first, 1 to 256 times
//! checksum <SHA-256 of all lines above, hexadecimal>
//! ```
//!
//! Each line ends with a line feed. The checksum finds what was cut or altered; besides, a key's id follows from its seed and the
//! installation. Nothing here is encrypted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::api::KeyMaterialSpec;
use crate::crypto::{
    InstallationId, SealingKeyId, SealingKeys, SealingPrivateKey, SecretArray, SecretBytes,
};
use crate::hex::Hex;

const HEADER: &str = "keystead-sealing-private-keys/v1\n";
/// Most keys of an installation.
const MAX_KEYS: usize = KeyMaterialSpec::MAX_GENERATIONS;
/// Characters of a seed in base64.
const SEED: usize = SealingPrivateKey::LENGTH.div_ceil(3) * 4;
/// Bytes of the line of a key.
const LINE: usize = "key ".len() + 32 + " ".len() + SEED + 1;
/// Bytes of the last line.
const CHECKSUM: usize = "checksum ".len() + 64 + 1;
/// Bytes of the largest text.
const MAX_LENGTH: usize =
    HEADER.len() + "installation ".len() + 36 + 1 + MAX_KEYS * LINE + CHECKSUM;

/// Why a text is no export. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It is something else.
    #[error("this is no export of sealing keys: `keystead sealing export` prints one")]
    Header,
    /// It cannot be one.
    #[error("an export of sealing keys has at most {MAX_KEYS} keys in {MAX_LENGTH} bytes")]
    TooLong,
    /// It is not as it was exported.
    #[error("the export was cut or altered, its checksum is another: take another copy")]
    Checksum,
    /// A line that is never written.
    #[error("line {0} of the export is malformed: export the keys again")]
    Line(usize),
}

/// The text of these keys.
pub fn export(keys: &SealingKeys) -> SecretBytes {
    let mut text = SecretBytes::with_capacity(MAX_LENGTH);
    let mut seed = SecretBytes::zeroed(SEED);
    text.extend_from_slice(HEADER.as_bytes());
    text.extend_from_slice(format!("installation {}\n", keys.installation()).as_bytes());
    for key in keys.iter() {
        STANDARD
            .encode_slice(key.expose(), seed.expose_mut())
            .expect("the buffer has the length of the encoding");
        text.extend_from_slice(format!("key {} ", key.id()).as_bytes());
        text.extend_from_slice(seed.expose());
        text.extend_from_slice(b"\n");
    }
    let checksum = checksum(text.expose());
    text.extend_from_slice(checksum.as_bytes());
    text
}

/// The keys of a text. Reads exactly what [`export`] writes, if there is a key.
///
/// # Errors
/// It is no export, or not whole.
pub fn import(text: &[u8]) -> Result<SealingKeys, ExportError> {
    if text.len() > MAX_LENGTH {
        return Err(ExportError::TooLong);
    }
    if !text.starts_with(HEADER.as_bytes()) {
        return Err(ExportError::Header);
    }
    let (body, end) = text.split_at(text.len().saturating_sub(CHECKSUM));
    if end != checksum(body).as_bytes() {
        return Err(ExportError::Checksum);
    }
    let body = std::str::from_utf8(body).map_err(|_| ExportError::Checksum)?;
    let mut lines = body.split_inclusive('\n').zip(1..).skip(1);
    let installation = lines.next().and_then(|(line, _)| installation(line));
    let installation = installation.ok_or(ExportError::Line(2))?;
    let mut keys: Vec<SealingPrivateKey> = Vec::new();
    for (line, number) in lines {
        let key = key(line, installation);
        let key = key.filter(|key| keys.iter().all(|other| other.id() != key.id()));
        keys.push(key.ok_or(ExportError::Line(number))?);
    }
    if keys.is_empty() {
        return Err(ExportError::Line(3));
    }
    Ok(SealingKeys::new(installation, keys))
}

fn installation(line: &str) -> Option<InstallationId> {
    let id = line.strip_prefix("installation ")?.strip_suffix('\n')?;
    id.parse().ok()
}

fn key(line: &str, installation: InstallationId) -> Option<SealingPrivateKey> {
    let line = line.strip_prefix("key ")?.strip_suffix('\n')?;
    let (id, seed) = line.split_once(' ')?;
    let id: SealingKeyId = id.parse().ok()?;
    let seed = SecretBytes::from(STANDARD.decode(seed).ok()?);
    let key = SealingPrivateKey::from_seed(installation, SecretArray::from_slice(seed.expose())?);
    (key.id() == id).then_some(key)
}

/// The last line.
fn checksum(body: &[u8]) -> String {
    format!("checksum {}\n", Hex(&Sha256::digest(body)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::crypto::OsRandom;

    fn keys(count: usize) -> SealingKeys {
        let id = InstallationId::from_bytes([7; 16]);
        let key = |_| SealingPrivateKey::generate(id, &mut OsRandom).unwrap();
        SealingKeys::new(id, (0..count).map(key).collect())
    }

    /// The same text with its checksum made right.
    fn signed(body: &str) -> String {
        format!("{body}{}", checksum(body.as_bytes()))
    }

    #[test]
    fn what_is_exported_is_read_in_its_order() {
        for count in [1, 2, MAX_KEYS] {
            let keys = keys(count);
            let text = export(&keys);
            assert!(text.len() <= MAX_LENGTH);
            let read = import(text.expose()).unwrap();
            assert_eq!(read.installation(), keys.installation());
            let seeds = |keys: &SealingKeys| -> Vec<_> {
                keys.iter().map(|key| (key.id(), *key.expose())).collect()
            };
            assert!(seeds(&read) == seeds(&keys));
        }
        assert_eq!(export(&keys(MAX_KEYS)).len(), MAX_LENGTH);
    }

    #[test]
    fn what_was_never_exported_is_refused_and_nothing_of_it_is_told() {
        let text = export(&keys(2));
        let text = std::str::from_utf8(text.expose()).unwrap();
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let body = |lines: &[&str]| signed(&lines.concat());
        let [header, installation, first, second] = [lines[0], lines[1], lines[2], lines[3]];
        let elsewhere = installation.replace("0707", "0808");
        for (what, text, error) in [
            ("nothing", String::new(), ExportError::Header),
            ("another file", "C4N4RY".to_owned(), ExportError::Header),
            (
                "a later version",
                text.replacen("/v1", "/v2", 1),
                ExportError::Header,
            ),
            (
                "too much",
                format!("{text}{}", " ".repeat(MAX_LENGTH)),
                ExportError::TooLong,
            ),
            (
                "a missing line",
                text.replacen(second, "", 1),
                ExportError::Checksum,
            ),
            (
                "a cut",
                text[..text.len() - 1].to_owned(),
                ExportError::Checksum,
            ),
            (
                "another line ending",
                text.replace('\n', "\r\n"),
                ExportError::Header,
            ),
            (
                "no installation",
                body(&[header, first]),
                ExportError::Line(2),
            ),
            (
                "no key",
                body(&[header, installation]),
                ExportError::Line(3),
            ),
            (
                "a key twice",
                body(&[header, installation, first, first]),
                ExportError::Line(4),
            ),
            (
                "a key of another installation",
                body(&[header, &elsewhere, first]),
                ExportError::Line(3),
            ),
        ] {
            let refused = import(text.as_bytes()).err();
            assert_eq!(refused, Some(error), "{what}");
        }
    }

    /// An export with three keys, in lines.
    static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let text = export(&keys(3));
        let text = std::str::from_utf8(text.expose()).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    });

    proptest! {
        #[test]
        fn any_other_byte_anywhere_is_refused(place in any::<Index>(), flip in 1_u8..) {
            let mut text = LINES.concat().into_bytes();
            let place = place.index(text.len());
            text[place] ^= flip;
            prop_assert!(import(&text).is_err());
        }

        #[test]
        fn lines_are_read_in_the_one_order_and_as_they_are_written(order in vec(0..5_usize, 1..5)) {
            let lines = std::iter::once(0).chain(order.iter().copied());
            let text = signed(&lines.map(|line| LINES[line].as_str()).collect::<String>());
            let (first, keys) = (order[0], &order[1..]);
            let distinct: BTreeSet<_> = keys.iter().collect();
            let sound = first == 1 && !keys.is_empty() && distinct.len() == keys.len()
                && keys.iter().all(|line| *line > 1);
            match import(text.as_bytes()) {
                Ok(keys) => prop_assert!(sound && export(&keys).expose() == text.as_bytes()),
                Err(_) => prop_assert!(!sound),
            }
        }
    }
}
