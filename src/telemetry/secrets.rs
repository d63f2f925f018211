//! What is shown of each secret.

use std::cmp::Reverse;

use prometheus_client::encoding::EncodeLabelSet;

use super::table::{Facts, Shows, Table};

/// What is shown of one secret. Times are in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Since when it is not ready, if it is not.
    pub not_ready: Option<i64>,
    /// When its current version was made.
    pub current: Option<i64>,
    /// When its pending version was made, if it has one.
    pub pending: Option<i64>,
    /// When its previous version was made, if it has one.
    pub previous: Option<i64>,
    /// How many versions are kept.
    pub versions: i64,
    /// When the first of its certificates is due to be renewed.
    pub next_renewal: Option<i64>,
    /// When the first of its certificates expires.
    pub expiry: Option<i64>,
    /// How many workloads wait to be restarted for its newest value.
    pub restarts_pending: i64,
    /// How many of them could not be restarted, or are not rolled out in time.
    pub restarts_failed: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    secret_namespace: String,
    secret_name: String,
}

/// The secrets that are shown.
pub(super) type Secrets = Table<SecretFacts>;

impl Facts for SecretFacts {
    type Labels = Labels;
    /// Those that are not ready, those whose restarts fail, those whose certificates expire soonest, and those with the oldest values.
    type Urgency = (Reverse<bool>, Reverse<bool>, i64, i64);

    const GAUGES: &'static [Shows<Self>] = &[
        Shows::time(
            "keystead_secret_not_ready_timestamp",
            "Since when a secret is not ready",
            |secret| secret.not_ready,
        ),
        Shows::time(
            "keystead_secret_current_timestamp",
            "When the current version of a secret was made",
            |secret| secret.current,
        ),
        Shows::time(
            "keystead_secret_pending_timestamp",
            "When the pending version of a secret was made",
            |secret| secret.pending,
        ),
        Shows::time(
            "keystead_secret_previous_timestamp",
            "When the previous version of a secret was made",
            |secret| secret.previous,
        ),
        Shows::count(
            "keystead_secret_versions",
            "Versions of a secret that are kept",
            |secret| Some(secret.versions),
        ),
        Shows::time(
            "keystead_secret_next_renewal_timestamp",
            "When the first certificate of a secret is due to be renewed",
            |secret| secret.next_renewal,
        ),
        Shows::time(
            "keystead_secret_certificate_expiry_timestamp",
            "When the first certificate of a secret expires",
            |secret| secret.expiry,
        ),
        Shows::count(
            "keystead_secret_restarts_pending",
            "Workloads that wait to be restarted for the newest value of a secret",
            |secret| some(secret.restarts_pending),
        ),
        Shows::count(
            "keystead_secret_restarts_failed",
            "Workloads that could not be restarted for the newest value of a secret, or are not rolled out in time",
            |secret| some(secret.restarts_failed),
        ),
    ];
    const OMITTED: (&'static str, &'static str) = (
        "keystead_secret_metrics_omitted",
        "Secrets that have no metrics of their own, since there are too many",
    );

    fn labels(&self) -> Labels {
        Labels {
            secret_namespace: self.namespace.clone(),
            secret_name: self.name.clone(),
        }
    }

    fn urgency(&self) -> Self::Urgency {
        (
            Reverse(self.not_ready.is_some()),
            Reverse(self.restarts_failed > 0),
            self.expiry.unwrap_or(i64::MAX),
            self.current.unwrap_or(i64::MAX),
        )
    }
}

/// A count that is shown only if there is something to count: most secrets restart nobody.
fn some(count: i64) -> Option<i64> {
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::super::table::MAX_SHOWN;
    use super::*;

    #[test]
    fn of_too_many_secrets_those_that_need_somebody_are_shown_first() {
        let secrets = Secrets::default();
        let fact = |name: &str| SecretFacts {
            name: name.to_owned(),
            ..SecretFacts::default()
        };
        let mut many: Vec<_> = (0..MAX_SHOWN).map(|_| fact("quiet")).collect();
        many.push(SecretFacts {
            current: Some(9),
            ..fact("old")
        });
        many.push(SecretFacts {
            expiry: Some(7),
            ..fact("expires")
        });
        many.push(SecretFacts {
            restarts_failed: 1,
            ..fact("stalled")
        });
        many.push(SecretFacts {
            not_ready: Some(5),
            ..fact("broken")
        });
        secrets.show(many);
        let shown = secrets.shown();
        let names: Vec<_> = shown.rows[..5]
            .iter()
            .map(|row| row.name.as_str())
            .collect();
        assert_eq!(names, ["broken", "stalled", "expires", "old", "quiet"]);
        assert_eq!((shown.rows.len(), shown.omitted), (MAX_SHOWN, 4));
    }
}
