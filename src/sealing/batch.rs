//! Entries on their way to the private keys and back: what `keystead sealing reseal` reads and prints, as JSON. There is no
//! plaintext in it.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::entry::{Refusal, reseal};
use super::place::Place;
use crate::crypto::{Random, SealingKeyError, SealingKeys, SealingPublicKey};

/// Largest request, in bytes.
const MAX_REQUEST: u64 = 16 << 20;
/// Largest answer, in bytes: the entries of a request, each for 9 recipients more.
pub const MAX_ANSWER: u64 = 32 << 20;
/// How many bytes of entries are sent at once. One entry is smaller.
const MAX_BYTES: usize = 8 << 20;
/// How many entries are sent at once.
const MAX_ENTRIES: usize = 500;

/// Entries that are to be sealed anew, and for whom.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The public keys, in their text form.
    pub recipients: Vec<String>,
    /// The entries.
    pub entries: Vec<Item>,
}

/// An entry, and where it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Where.
    pub place: Place,
    /// Under which key.
    pub key: String,
    /// What is written there.
    pub entry: String,
}

/// What became of each entry, in their order.
pub type Answers = Vec<Result<String, Refusal>>;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// It does not end in time, or cannot be read.
    #[error("the request cannot be read, or has more than {MAX_REQUEST} bytes: send fewer entries")]
    Read,
    /// It is something else.
    #[error("this is no request: `kubectl keystead seal reseal` sends one")]
    Malformed,
    /// A recipient is no public key.
    #[error("a public key of the request")]
    Recipient(#[source] SealingKeyError),
}

impl Request {
    /// Requests for all of the entries, each small enough to be read.
    pub fn of(items: Vec<Item>, recipients: &[SealingPublicKey]) -> Vec<Self> {
        let request = |entries| Self {
            recipients: recipients.iter().map(ToString::to_string).collect(),
            entries,
        };
        let (mut requests, mut entries, mut size) = (Vec::new(), Vec::new(), 0);
        for item in items {
            let length = serde_json::to_vec(&item).map_or(0, |json| json.len());
            let full = size + length > MAX_BYTES || entries.len() == MAX_ENTRIES;
            if full && !entries.is_empty() {
                requests.push(request(std::mem::take(&mut entries)));
                size = 0;
            }
            size += length;
            entries.push(item);
        }
        if !entries.is_empty() {
            requests.push(request(entries));
        }
        requests
    }

    /// Reads one, whole.
    ///
    /// # Errors
    /// It is too long, or none.
    pub fn read(reader: impl Read) -> Result<Self, BatchError> {
        let mut bytes = Vec::new();
        let size = reader.take(MAX_REQUEST + 1).read_to_end(&mut bytes);
        match size {
            Ok(size) if size as u64 <= MAX_REQUEST => {}
            Ok(_) | Err(_) => return Err(BatchError::Read),
        }
        serde_json::from_slice(&bytes).map_err(|_| BatchError::Malformed)
    }

    /// Does what it asks for.
    ///
    /// # Errors
    /// A recipient is no public key. What is wrong with an entry is among the answers.
    pub fn answer(
        &self,
        keys: &SealingKeys,
        random: &mut dyn Random,
    ) -> Result<Answers, BatchError> {
        let recipients = self.recipients.iter().map(|text| text.parse());
        let recipients: Result<Vec<_>, _> = recipients.collect();
        let recipients = recipients.map_err(BatchError::Recipient)?;
        Ok(resealed(&self.entries, keys, &recipients, random))
    }
}

/// Seals entries anew, each by itself.
pub fn resealed(
    items: &[Item],
    keys: &SealingKeys,
    recipients: &[SealingPublicKey],
    random: &mut dyn Random,
) -> Answers {
    let answer =
        |Item { place, key, entry }: &Item| reseal(entry, place, key, keys, recipients, random);
    items.iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::crypto::{InstallationId, OsRandom, SealingPrivateKey};

    fn item(length: usize) -> Item {
        Item {
            place: Place {
                namespace: "shop".to_owned(),
                name: "db".to_owned(),
                context: BTreeMap::new(),
            },
            key: "password".to_owned(),
            entry: "A".repeat(length),
        }
    }

    #[test]
    fn many_entries_are_sent_in_requests_that_can_be_read_and_none_is_lost() {
        let id = InstallationId::from_bytes([1; 16]);
        let key = SealingPrivateKey::generate(id, &mut OsRandom).unwrap();
        let recipients = [key.public(id)];
        let items: Vec<_> = (0..50).map(|_| item(360 << 10)).collect();
        let requests = Request::of(items.clone(), &recipients);
        assert_eq!(requests.len(), 3);
        let mut found = Vec::new();
        for request in requests {
            let sent = serde_json::to_vec(&request).unwrap();
            found.extend(Request::read(sent.as_slice()).unwrap().entries);
        }
        assert!(found == items);
        let small: Vec<_> = (0..=MAX_ENTRIES).map(|_| item(1)).collect();
        assert_eq!(Request::of(small, &recipients).len(), 2);
        assert!(Request::of(Vec::new(), &recipients).is_empty());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert!(matches!(
            Request::read(std::io::repeat(b' ')),
            Err(BatchError::Read)
        ));
        for text in ["", "[]", r#"{"recipients": [], "entries": [], "x": 1}"#] {
            let read = Request::read(text.as_bytes());
            assert!(matches!(read, Err(BatchError::Malformed)), "{text}");
        }
        let request = Request {
            recipients: vec!["C4N4RY".to_owned()],
            entries: Vec::new(),
        };
        let id = InstallationId::from_bytes([1; 16]);
        let refused = request.answer(&SealingKeys::new(id, Vec::new()), &mut OsRandom);
        assert!(matches!(refused, Err(BatchError::Recipient(_))));
    }
}
