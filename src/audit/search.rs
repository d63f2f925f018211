//! Who used a key, by the lines of a log. Pure.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::chain::parse;
use super::record::{Decision, Resource, ResourceType};

/// The key that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyQuery {
    /// By its id, as the last part of its ARN.
    Id(String),
    /// By its ARN.
    Arn(String),
    /// By the namespace and name that it had when it was used.
    Name(String, String),
}

impl std::str::FromStr for KeyQuery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("arn:") {
            return Ok(Self::Arn(text.to_owned()));
        }
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::Name(namespace.to_owned(), name.to_owned()))
            }
            None if text.parse::<crate::crypto::KeyId>().is_ok() => Ok(Self::Id(text.to_owned())),
            _ => Err("give a key id, an ARN, or namespace/name".to_owned()),
        }
    }
}

impl KeyQuery {
    fn matches(&self, resource: &Resource) -> bool {
        let arn = resource.arn.as_deref();
        resource.type_ == ResourceType::ManagedKey
            && match self {
                Self::Id(id) => arn.and_then(|arn| arn.rsplit('/').next()) == Some(id),
                Self::Arn(wanted) => arn == Some(wanted),
                Self::Name(namespace, name) => {
                    resource.namespace == *namespace && resource.name == *name
                }
            }
    }
}

/// One user, and what it did with a key in one way.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UsedBy {
    /// The user.
    pub user: String,
    /// Through what.
    pub via: Option<String>,
    /// The call.
    pub event_name: String,
    /// Whether it was let through.
    pub decision: Decision,
    /// The error, if it was refused or failed.
    pub error_code: Option<String>,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: String,
    /// The last time.
    pub last: String,
}

/// Gathers everybody who used a key, or tried, since some time.
#[derive(Debug)]
pub struct Users {
    key: KeyQuery,
    since: Timestamp,
    found: Found,
}

impl Users {
    /// Nobody yet.
    pub fn new(key: KeyQuery, since: Timestamp) -> Self {
        Self {
            key,
            since,
            found: Found::new(),
        }
    }

    /// Takes a line, with or without its line break. One that is none of a trail is skipped.
    pub fn line(&mut self, line: &[u8]) {
        add(&mut self.found, line, &self.key, self.since);
    }

    /// Everybody, the most recent first.
    pub fn finish(self) -> Vec<UsedBy> {
        let mut found: Vec<_> = self.found.into_values().collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.last));
        found.into_iter().map(|found| found.used).collect()
    }
}

type Found = BTreeMap<(String, String, bool, Option<String>), Spanned>;

/// One of those who are listed, and the times that `first` and `last` of it say.
#[derive(Debug)]
struct Spanned {
    first: Timestamp,
    last: Timestamp,
    used: UsedBy,
}

fn add(found: &mut Found, line: &[u8], key: &KeyQuery, since: Timestamp) {
    let Ok(parsed) = parse(line.strip_suffix(b"\n").unwrap_or(line)) else {
        return;
    };
    let (line, entry) = (parsed.line.event_time, parsed.line.entry);
    let Ok(time) = line.parse::<Timestamp>() else {
        return;
    };
    if time < since || !entry.resources.iter().any(|resource| key.matches(resource)) {
        return;
    }
    let place = (
        entry.user_identity.user.clone(),
        entry.event_name.clone(),
        entry.decision == Decision::Allow,
        entry.error_code.clone(),
    );
    let found = found.entry(place).or_insert_with(|| {
        let used = UsedBy {
            user: entry.user_identity.user,
            via: entry.user_identity.via,
            event_name: entry.event_name,
            decision: entry.decision,
            error_code: entry.error_code,
            count: 0,
            first: line.clone(),
            last: line.clone(),
        };
        Spanned {
            first: time,
            last: time,
            used,
        }
    });
    let used = &mut found.used;
    used.count = used
        .count
        .saturating_add(u64::from(entry.count.unwrap_or(1)));
    // Files come in any order.
    if time < found.first {
        found.first = time;
        used.first.clone_from(&line);
    }
    if time >= found.last {
        found.last = time;
        used.last = line;
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::Chain;
    use super::super::record::{Entry, EventSource, Identity};
    use super::*;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn log() -> Vec<Vec<u8>> {
        let mut chain = Chain::new("c".repeat(32), "pod".to_owned());
        let mut log = Vec::new();
        let mut add = |time: &str, name: &str, secret: &str, id: &str, count| {
            let mut entry = Entry::allowed(
                EventSource::Kms,
                name,
                Identity::secret("shop", secret),
                "r",
            );
            entry.resources.push(Resource {
                type_: ResourceType::ManagedKey,
                namespace: "shop".to_owned(),
                name: "orders".to_owned(),
                uid: None,
                arn: Some(format!("arn:aws:kms:eu-1:000000000001:key/{id}")),
            });
            entry.count = count;
            let mut line = Vec::new();
            chain.append(time, entry, None, &mut line);
            log.push(line);
        };
        let other = "22222222-2222-4222-8222-222222222222";
        add("2026-11-01T00:00:00Z", "Decrypt", "old", ID, None);
        add("2026-11-20T00:00:00Z", "Decrypt", "db", ID, Some(3));
        add("2026-11-21T00:00:00Z", "Decrypt", "db", ID, None);
        add("2026-11-22T00:00:00Z", "GenerateDataKey", "cache", ID, None);
        add("2026-11-22T00:00:00Z", "Decrypt", "elsewhere", other, None);
        log.push(b"{\"message\":\"a line of the log\"}\n".to_vec());
        log
    }

    fn found(key: &str) -> Vec<(String, u64)> {
        let (log, since) = (log(), "2026-11-10T00:00:00Z".parse().unwrap());
        let mut users = Users::new(key.parse().unwrap(), since);
        for line in &log {
            users.line(line);
        }
        let used = users.finish();
        used.into_iter()
            .map(|used| (used.user, used.count))
            .collect()
    }

    #[test]
    fn users_of_a_key_are_counted_and_the_latest_is_first() {
        let expected = [
            ("keystead:secret:shop:cache".to_owned(), 1),
            ("keystead:secret:shop:db".to_owned(), 4),
        ];
        assert_eq!(found(ID), expected);
        let arn = format!("arn:aws:kms:eu-1:000000000001:key/{ID}");
        assert_eq!(found(&arn), expected);
        assert_eq!(found("shop/orders").len(), 3, "another key had the name");
        assert!(found("shop/other").is_empty());
    }

    #[test]
    fn the_first_and_the_last_time_are_those_of_the_clock_and_not_of_the_order_of_files() {
        let since = "2026-11-10T00:00:00Z".parse().unwrap();
        let mut users = Users::new(ID.parse().unwrap(), since);
        for line in log().iter().rev() {
            users.line(line);
        }
        let used = users.finish().pop().unwrap();
        let times = (used.first.as_str(), used.last.as_str());
        assert_eq!(times, ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"));
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in ["", "orders", "/orders", "shop/"] {
            assert!(text.parse::<KeyQuery>().is_err(), "{text}");
        }
    }
}
