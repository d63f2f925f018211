//! The hash chain: how a line is written, and how it is read again. Pure.
//!
//! A line is one JSON object whose last member is `chain`, whose last member is `hash`:
//!
//! ```text
//! {"stream":"audit", ... ,"chain":{"id":"<32 hex>","sequence":7,"previous":"<64 hex>","hash":"<64 hex>"}}
//! └────────────────────────────────── hashed ──────────────────────────────────────┘
//! hash = SHA-256("keystead/v1/audit" ‖ 00 ‖ the bytes before `,"hash"`)
//! ```
//!
//! The bytes as they are written are hashed, so that no two writings of the same JSON have the same hash, and nobody
//! needs to agree on a canonical one. They hold the hash of the line before. JSON escapes line breaks, so that no text
//! can pretend to be a line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::Entry;
use crate::hex::Hex;

/// Longest line that is read, in bytes. What is written is shorter.
pub const MAX_LINE: usize = 1024 * 1024;

/// Longest name of a chain. Ours have 32 letters; who reads a log keeps each.
const MAX_NAME: usize = 64;

/// What hashes of lines begin with, so that they are never hashes of anything else.
const LABEL: &[u8] = b"keystead/v1/audit\0";
/// What every line begins with, so that it can be told from a line of the log.
pub(super) const START: &str = "{\"stream\":\"audit\",";
/// The version of the schema.
const SCHEMA: u32 = 1;

/// The hash of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first line of a chain names as the one before it.
    pub const ZERO: Self = Self([0; 32]);

    fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(LABEL)
            .chain_update(bytes)
            .finalize();
        Self(digest.into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = ParseLineError;

    fn from_str(text: &str) -> Result<Self, ParseLineError> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 64 {
            return Err(ParseLineError::Hash);
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (digit(pair[0])?, digit(pair[1])?);
            *byte = high << 4 | low;
        }
        Ok(Self(hash))
    }
}

/// A lower-case hexadecimal digit: a hash has one writing.
fn digit(letter: u8) -> Result<u8, ParseLineError> {
    match letter {
        b'0'..=b'9' => Ok(letter - b'0'),
        b'a'..=b'f' => Ok(letter - b'a' + 10),
        _ => Err(ParseLineError::Hash),
    }
}

/// What the first line of a chain says of where it comes from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// The installation.
    pub installation: String,
    /// The version of Keystead.
    pub version: String,
    /// The end of the log that this one goes on, if the sink had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<Resumed>,
}

/// The end of a log that another process wrote.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// The hash of its last whole line; of none, zeroes.
    pub hash: String,
    /// How many bytes of a line came after that, which its writer did not live to end.
    #[serde(default)]
    pub torn_bytes: u64,
}

/// A line as it is written. Borrowed: nothing is copied but into the bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    stream: &'static str,
    schema_version: u32,
    event_time: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
    replica: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    genesis: Option<&'a Genesis>,
    chain: WrittenPlace<'a>,
}

#[derive(Serialize)]
struct WrittenPlace<'a> {
    id: &'a str,
    sequence: u64,
    previous: String,
}

/// A line as it is read.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When it was written (RFC 3339).
    pub event_time: String,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// Who wrote it.
    pub replica: String,
    /// On the first line of a chain: where it comes from.
    #[serde(default)]
    pub genesis: Option<Genesis>,
    chain: ReadPlace,
}

#[derive(Deserialize, Clone, Debug)]
struct ReadPlace {
    id: String,
    sequence: u64,
    previous: String,
    hash: String,
}

/// Why bytes are no line of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLineError {
    /// It does not begin or end as one.
    #[error("it does not have the form of a line")]
    Form,
    /// It is no JSON of the schema.
    #[error("it is not JSON of the schema")]
    Json,
    /// A hash is no hash.
    #[error("a hash is malformed")]
    Hash,
}

/// A line, and what its place in the chain says.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    /// The line.
    pub(super) line: Line,
    /// The chain's name.
    pub(super) chain: String,
    /// The number of the line in the chain.
    pub(super) sequence: u64,
    /// The hash of the line before, as the line says.
    pub(super) previous: Hash,
    /// Its own hash, as it says.
    pub(super) claimed: Hash,
    /// Its own hash, as computed.
    pub(super) computed: Hash,
}

/// Whether bytes begin as a line of a trail does, and no other line of the log.
pub fn is_audit_line(bytes: &[u8]) -> bool {
    bytes.starts_with(START.as_bytes())
}

/// Reads a line, without its line break.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ParseLineError> {
    const END: usize = ",\"hash\":\"".len() + 64 + "\"}}".len();
    if !is_audit_line(bytes) || bytes.len() > MAX_LINE || bytes.len() < END {
        return Err(ParseLineError::Form);
    }
    let (hashed, end) = bytes.split_at(bytes.len() - END);
    let digits = end
        .strip_prefix(b",\"hash\":\"")
        .and_then(|end| end.strip_suffix(b"\"}}"))
        .ok_or(ParseLineError::Form)?;
    let digits = std::str::from_utf8(digits).map_err(|_| ParseLineError::Hash)?;
    let line: Line = serde_json::from_slice(bytes).map_err(|_| ParseLineError::Json)?;
    if line.chain.id.len() > MAX_NAME {
        return Err(ParseLineError::Form);
    }
    // The hash that the schema reads must be the one at the end, and no other of the same name.
    if line.chain.hash != digits {
        return Err(ParseLineError::Form);
    }
    Ok(Parsed {
        chain: line.chain.id.clone(),
        sequence: line.chain.sequence,
        previous: line.chain.previous.parse()?,
        claimed: digits.parse()?,
        computed: Hash::of(hashed),
        line,
    })
}

/// One chain as its writer knows it: its name, and where it ends.
#[derive(Clone, Debug)]
pub struct Chain {
    id: String,
    replica: String,
    next: u64,
    last: Hash,
}

impl Chain {
    /// A chain without a line. `id` must be one that no other chain ever had.
    pub fn new(id: String, replica: String) -> Self {
        Self {
            id,
            replica,
            next: 0,
            last: Hash::ZERO,
        }
    }

    /// Whether it has no line yet.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// The hash of its last line.
    pub fn last(&self) -> Hash {
        self.last
    }

    /// Adds a line that says `entry`, with its line break, to `lines`. The first of a chain carries its `genesis`.
    pub fn append(
        &mut self,
        time: &str,
        entry: Entry,
        genesis: Option<&Genesis>,
        lines: &mut Vec<u8>,
    ) {
        let start = lines.len();
        let entry = entry.bounded();
        let written = Written {
            stream: "audit",
            schema_version: SCHEMA,
            event_time: time,
            entry: &entry,
            replica: &self.replica,
            genesis,
            chain: WrittenPlace {
                id: &self.id,
                sequence: self.next,
                previous: self.last.to_string(),
            },
        };
        serde_json::to_writer(&mut *lines, &written)
            .expect("maps have text keys, and memory takes every byte");
        // The two braces that close the object come after the hash.
        lines.truncate(lines.len() - 2);
        self.last = Hash::of(&lines[start..]);
        self.next += 1;
        lines.extend_from_slice(format!(",\"hash\":\"{}\"}}}}\n", self.last).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{EventSource, Identity};
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry::allowed(EventSource::Kms, name, Identity::secret("shop", "db"), "r1")
    }

    fn line(chain: &mut Chain, entry: Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        chain.append("2026-11-25T10:00:00Z", entry, None, &mut bytes);
        assert_eq!(bytes.pop(), Some(b'\n'));
        bytes
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_names_the_one_before() {
        let mut chain = Chain::new("c".repeat(32), "pod-1".to_owned());
        let first = parse(&line(&mut chain, entry("Decrypt"))).unwrap();
        assert_eq!((first.sequence, first.previous), (0, Hash::ZERO));
        assert_eq!(first.claimed, first.computed);
        assert_eq!(first.line.entry, entry("Decrypt"));
        assert_eq!(first.line.replica, "pod-1");
        let second = parse(&line(&mut chain, entry("Encrypt"))).unwrap();
        assert_eq!((second.sequence, second.previous), (1, first.computed));
        assert_eq!(second.computed, chain.last());
    }

    /// The format, written down once: a change of it must be meant. The hash was computed with sha256sum.
    #[test]
    fn the_bytes_of_a_line_are_these() {
        let mut chain = Chain::new("00".repeat(16), "pod-1".to_owned());
        let written = String::from_utf8(line(&mut chain, entry("Decrypt"))).unwrap();
        let expected = concat!(
            r#"{"stream":"audit","schemaVersion":1,"eventTime":"2026-11-25T10:00:00Z","#,
            r#""eventSource":"kms.keystead.dev","eventName":"Decrypt","#,
            r#""userIdentity":{"user":"keystead:secret:shop:db","groups":["keystead:secrets:shop"],"via":"secrets"},"#,
            r#""decision":"Allow","requestID":"r1","replica":"pod-1","#,
            r#""chain":{"id":"00000000000000000000000000000000","sequence":0,"#,
            r#""previous":"0000000000000000000000000000000000000000000000000000000000000000","hash":""#,
        );
        assert!(written.starts_with(expected), "{written}");
        assert!(written.ends_with(HASH_OF_THE_EXAMPLE), "{written}");
    }

    const HASH_OF_THE_EXAMPLE: &str =
        "a554ad6dd8d33f9530cb9eb58645ef8fab83757b6e3f4426fc5fb91ce8b1163d\"}}";

    #[test]
    fn text_cannot_pretend_to_be_a_line() {
        let mut chain = Chain::new("c".repeat(32), "pod".to_owned());
        let mut evil = entry("Decrypt");
        evil.reason = "\n{\"stream\":\"audit\",\u{2028}\r\n\0\"}}".to_owned();
        let bytes = line(&mut chain, evil.clone());
        assert!(
            !bytes.iter().any(|byte| *byte < b' '),
            "no control characters"
        );
        assert_eq!(parse(&bytes).unwrap().line.entry, evil);
    }

    #[test]
    fn a_chain_has_a_short_name() {
        let mut chain = Chain::new("c".repeat(64), "pod".to_owned());
        assert!(parse(&line(&mut chain, entry("Decrypt"))).is_ok());
        let mut chain = Chain::new("c".repeat(65), "pod".to_owned());
        let read = parse(&line(&mut chain, entry("Decrypt")));
        assert_eq!(read.unwrap_err(), ParseLineError::Form);
    }

    #[test]
    fn a_second_chain_member_is_refused() {
        let mut chain = Chain::new("c".repeat(32), "pod".to_owned());
        let text = String::from_utf8(line(&mut chain, entry("Decrypt"))).unwrap();
        let twice = text.replace(
            "{\"stream\":\"audit\",",
            "{\"stream\":\"audit\",\"chain\":{},",
        );
        assert!(parse(twice.as_bytes()).is_err());
    }

    #[test]
    fn a_hash_has_one_writing() {
        let hash = Hash::of(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!(hash.to_string().to_uppercase().parse::<Hash>().is_err());
        assert!("00".parse::<Hash>().is_err());
    }
}
