//! What a user asks of a secret once, by annotation: an earlier version back, or the generated values made anew.

use crate::api::ManagedSecret;
use crate::api::names::{ANNOTATION_REGENERATE, ANNOTATION_ROLLBACK};
use crate::controllers::token::token;
use crate::secrets::{Manifest, Stage, VersionId};

/// A roll back, as far as it can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rollback {
    /// None is asked for, or it is done.
    None,
    /// To this version.
    To {
        /// The version.
        version: VersionId,
        /// The words that asked for it.
        request: String,
    },
    /// It is asked for and cannot be done; in words.
    Refused(String),
}

/// The roll back that is asked for, against what is stored. It names the sequence number that its author has seen, so that
/// it is done in the state that he meant or not at all.
pub(super) fn rollback(secret: &ManagedSecret, manifest: Option<&Manifest>) -> Rollback {
    let Some(request) = token(secret, ANNOTATION_ROLLBACK) else {
        return Rollback::None;
    };
    let refused = |why: &str| {
        Rollback::Refused(format!(
            "{ANNOTATION_ROLLBACK}: {request} is not done: {why}"
        ))
    };
    if secret.spec.replica_of.is_some() {
        return refused("a replica follows its source: ask there");
    }
    let Some(manifest) = manifest else {
        return refused("nothing is stored yet");
    };
    if manifest.requests().has_rolled_back(&request) {
        return Rollback::None;
    }
    let parts = request.split_once('@');
    let parts = parts.and_then(|(id, sequence)| {
        Some((id.parse::<VersionId>().ok()?, sequence.parse::<u64>().ok()?))
    });
    let Some((version, sequence)) = parts else {
        return refused(
            "it must be <version id>@<sequence>, as status.versions and status.sequence say them",
        );
    };
    if sequence != manifest.sequence() {
        return refused(&format!(
            "the secret was changed since and has sequence {}; look at it and ask again",
            manifest.sequence()
        ));
    }
    match manifest.version(&version) {
        None => refused("that version is not kept"),
        Some(record) if record.stages.contains(&Stage::Current) => {
            refused("that version is the current one")
        }
        Some(record) if record.stages.contains(&Stage::Pending) => {
            refused("that version is pending: a rotation is under way")
        }
        Some(_) => Rollback::To { version, request },
    }
}

/// The token for which every generated value is to be made anew now.
pub(super) fn regeneration(secret: &ManagedSecret, manifest: &Manifest) -> Option<String> {
    token(secret, ANNOTATION_REGENERATE).filter(|token| !manifest.requests().has_regenerated(token))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::managed;
    use super::*;
    use crate::secrets::testing::{IDS, with_versions};

    fn asked(request: &str, manifest: Option<&Manifest>) -> Rollback {
        let mut secret = managed(&json!({"literals": {"a": "b"}}));
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_ROLLBACK.into(), request.into());
        rollback(&secret, manifest)
    }

    #[test]
    fn a_roll_back_is_done_once_in_the_state_that_its_author_saw() {
        let mut manifest = with_versions(&IDS[..2]);
        let request = format!("{}@{}", IDS[0], manifest.sequence());
        let Rollback::To { version, request } = asked(&request, Some(&manifest)) else {
            panic!("it is not done");
        };
        assert_eq!(version.as_str(), IDS[0]);
        manifest.promote(&version).unwrap();
        manifest.record_rollback(&request).unwrap();
        assert_eq!(asked(&request, Some(&manifest)), Rollback::None);
        let secret = managed(&json!({"literals": {"a": "b"}}));
        assert_eq!(rollback(&secret, Some(&manifest)), Rollback::None);
    }

    #[test]
    fn what_cannot_be_gone_back_to_is_refused_with_the_reason() {
        let manifest = with_versions(&IDS[..2]);
        let now = manifest.sequence();
        for (request, manifest, reason) in [
            (format!("{}@{now}", IDS[0]), None, "nothing is stored yet"),
            ("previous".into(), Some(&manifest), "it must be"),
            (format!("{}@-1", IDS[0]), Some(&manifest), "it must be"),
            (
                format!("{}@{}", IDS[0], now - 1),
                Some(&manifest),
                "ask again",
            ),
            (format!("{}@{now}", IDS[2]), Some(&manifest), "is not kept"),
            (
                format!("{}@{now}", IDS[1]),
                Some(&manifest),
                "is the current one",
            ),
        ] {
            let Rollback::Refused(message) = asked(&request, manifest) else {
                panic!("{request} is not refused");
            };
            assert!(message.contains(reason), "{message}");
        }
    }
}
