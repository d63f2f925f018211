//! `WatchSecrets`: waits until the content of a secret is another than the one that the plugin was last told of.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::files::known;
use super::polls::Poll;
use crate::api::names::is_object_name;
use crate::server::api::error::ApiError;
use crate::server::catalogue::{Catalogue, Revision};

/// Most secrets of one call.
const MOST: usize = 4096;
/// How long a call waits that does not say it.
const WAIT: u64 = 30;
/// The longest that a call may wait, in seconds.
const MAX_WAIT: u64 = 60;
/// Changes that come together are told together, and looked at once.
const SETTLE: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WatchSecrets {
    secrets: Vec<Known>,
    wait_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Known {
    namespace: String,
    name: String,
    revision: Option<String>,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked {
    secrets: Vec<Watched>,
    wait: Duration,
}

#[derive(Debug)]
struct Watched {
    namespace: Box<str>,
    name: Box<str>,
    told: Told,
}

/// What the plugin was last told of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing, or that there is none. They are the same, so that whoever waits for a secret that is not there waits.
    Nothing,
    /// That its content is this.
    Revision(Revision),
    /// What another release said.
    Other,
}

/// What changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Changed<'a> {
    secrets: Vec<ChangedSecret<'a>>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChangedSecret<'a> {
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
}

impl Asked {
    /// # Errors
    /// A limit is broken, or something is no name.
    pub(super) fn of(asked: WatchSecrets) -> Result<Self, ApiError> {
        let (count, wait) = (asked.secrets.len(), asked.wait_seconds.unwrap_or(WAIT));
        if count > MOST {
            let message = format!("Secrets has {count} items; it may have {MOST}");
            return Err(ApiError::invalid_parameter(message));
        }
        if wait > MAX_WAIT {
            let message = format!("WaitSeconds is {wait}; it may be 0 to {MAX_WAIT}");
            return Err(ApiError::invalid_parameter(message));
        }
        let secrets = asked.secrets.into_iter().map(Watched::of);
        Ok(Self {
            secrets: secrets.collect::<Result<_, _>>()?,
            wait: Duration::from_secs(wait),
        })
    }

    /// How many secrets it names.
    pub(super) fn len(&self) -> usize {
        self.secrets.len()
    }

    /// What is another than what was told.
    fn changed(&self, catalogue: &Catalogue) -> Changed<'_> {
        let places = self.secrets.iter().map(|one| (&*one.namespace, &*one.name));
        let revisions = catalogue.revisions(places);
        let secrets = self.secrets.iter().zip(revisions);
        let changed = secrets.filter(|(one, revision)| one.told != Told::of(*revision));
        Changed {
            secrets: changed
                .map(|(one, revision)| ChangedSecret {
                    namespace: &one.namespace,
                    name: &one.name,
                    revision: revision.map(|revision| revision.to_string()),
                })
                .collect(),
        }
    }
}

impl Watched {
    fn of(known: Known) -> Result<Self, ApiError> {
        for name in [&known.namespace, &known.name] {
            if !is_object_name(name) {
                let message = "Secrets: a Namespace or Name is no name of an object of Kubernetes";
                return Err(ApiError::invalid_parameter(message));
            }
        }
        let told = match known.revision.as_deref() {
            None | Some("") => Told::Nothing,
            Some(text) => text.parse().map_or(Told::Other, Told::Revision),
        };
        Ok(Self {
            namespace: known.namespace.into_boxed_str(),
            name: known.name.into_boxed_str(),
            told,
        })
    }
}

impl Told {
    fn of(revision: Option<Revision>) -> Self {
        revision.map_or(Self::Nothing, Self::Revision)
    }
}

/// Waits for a change; without one there is an empty answer after the time that was asked for, or when this replica ends.
///
/// # Errors
/// Not all secrets are known: that one is missing would mean nothing.
pub(super) async fn watch<'a>(
    catalogue: &Catalogue,
    asked: &'a Asked,
    mut poll: Poll<'_>,
) -> Result<Changed<'a>, ApiError> {
    let deadline = Instant::now() + asked.wait;
    let mut changes = catalogue.changes();
    loop {
        changes.mark_unchanged();
        known(catalogue)?;
        let changed = asked.changed(catalogue);
        if !changed.secrets.is_empty() {
            return Ok(changed);
        }
        tokio::select! {
            () = poll.over() => return Ok(Changed::default()),
            () = sleep_until(deadline) => return Ok(Changed::default()),
            // The catalogue, which tells, is there as long as we look into it.
            _ = changes.changed() => sleep(SETTLE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::super::polls::Polls;
    use super::*;

    const OLD: &str = "1b4e28ba-2fa1-4d1c-8d8a-1f2e3d4c5b6a";
    const NEW: &str = "6fa459ea-ee8a-4ca4-894e-db77e160355e";

    fn revision(version: &str) -> String {
        Revision::of(version, &BTreeMap::new()).to_string()
    }

    fn asked(secrets: &Value, wait: u64) -> Result<Asked, ApiError> {
        let asked = json!({"Secrets": secrets, "WaitSeconds": wait});
        Asked::of(serde_json::from_value(asked).unwrap())
    }

    fn one(revision: &str) -> Value {
        json!([{"Namespace": "shop", "Name": "db", "Revision": revision}])
    }

    /// Short, and still longer than what a change takes to be told.
    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(60);

    async fn told(catalogue: &Catalogue, secrets: &Value, wait: Duration) -> Value {
        let polls = Polls::default();
        let asked = Asked {
            wait,
            ..asked(secrets, 1).unwrap()
        };
        let poll = polls.begin("u", asked.len()).unwrap();
        let changed = watch(catalogue, &asked, poll).await.unwrap();
        serde_json::to_value(changed).unwrap()["Secrets"].clone()
    }

    #[tokio::test]
    async fn what_differs_is_told_at_once_and_what_does_not_is_waited_for() {
        let catalogue = Catalogue::of_versions(&[("shop", "db", OLD), ("shop", "other", NEW)]);
        let current = one(&revision(OLD));
        let never = json!([{"Namespace": "shop", "Name": "db"}]);
        for known in [never, one(""), one(&revision(NEW)), one("r/2")] {
            assert_eq!(told(&catalogue, &known, LONG).await, current, "{known}");
        }
        let begun = Instant::now();
        assert_eq!(told(&catalogue, &current, SHORT).await, json!([]));
        assert!(begun.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_secret_that_is_gone_is_told_once() {
        let catalogue = Catalogue::of_versions(&[]);
        let gone = json!([{"Namespace": "shop", "Name": "db"}]);
        assert_eq!(told(&catalogue, &one(&revision(OLD)), LONG).await, gone);
        let begun = Instant::now();
        assert_eq!(told(&catalogue, &gone, SHORT).await, json!([]));
        assert!(begun.elapsed() >= SHORT, "no busy loop");
    }

    #[tokio::test]
    async fn a_change_ends_the_wait() {
        let catalogue = Catalogue::of_versions(&[("shop", "db", OLD)]);
        let current = one(&revision(OLD));
        let change = async {
            sleep(SETTLE).await;
            catalogue.set_version("shop", "other", NEW);
            sleep(4 * SETTLE).await;
            catalogue.set_version("shop", "db", NEW);
        };
        let begun = Instant::now();
        let (told, ()) = tokio::join!(told(&catalogue, &current, LONG), change);
        assert_eq!(told, one(&revision(NEW)));
        let took = begun.elapsed();
        assert!(took >= 5 * SETTLE && took < LONG / 2, "{took:?}");
    }

    #[tokio::test]
    async fn the_end_of_the_replica_ends_the_wait() {
        let catalogue = Catalogue::of_versions(&[("shop", "db", OLD)]);
        let polls = Polls::default();
        let asked = asked(&one(&revision(OLD)), 60).unwrap();
        let begun = Instant::now();
        let end = async {
            sleep(SETTLE).await;
            polls.end();
        };
        let poll = polls.begin("u", 1).unwrap();
        let (told, ()) = tokio::join!(watch(&catalogue, &asked, poll), end);
        assert_eq!(told.unwrap(), Changed::default());
        assert!(begun.elapsed() < LONG / 2);
    }

    #[tokio::test]
    async fn before_all_secrets_are_known_nothing_is_said_of_any() {
        let polls = Polls::default();
        let asked = asked(&one(""), 30).unwrap();
        let poll = polls.begin("u", 1).unwrap();
        let refused = watch(&Catalogue::default(), &asked, poll).await;
        assert_eq!(refused.unwrap_err().code, "ServiceUnavailableException");
    }

    #[test]
    fn what_breaks_a_limit_or_is_no_name_is_refused() {
        let named = |namespace: &str, name: &str| json!({"Namespace": namespace, "Name": name});
        let many: Vec<_> = (0..=MOST).map(|_| named("shop", "db")).collect();
        for (secrets, wait) in [
            (json!([named("shop", "../db")]), 1),
            (json!([named("", "db")]), 1),
            (json!([named("shop", &"x".repeat(254))]), 1),
            (json!(many), 1),
            (json!([]), 61),
        ] {
            let refused = asked(&secrets, wait).unwrap_err();
            assert_eq!(refused.code, "InvalidParameterException");
        }
        assert!(asked(&json!(many[1..]), 60).is_ok());
    }
}
