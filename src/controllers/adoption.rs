//! Who may take over waiting truth: the rules, as one pure function for keys and secrets.

use std::collections::BTreeMap;

use super::namespace::NamespaceFacts;
use crate::api::names::{ADOPT_NEVER, ANNOTATION_ADOPT, ANNOTATION_APPROVE_ADOPTION};

/// What a resource may do with the truth that waits under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// It is its own already.
    Own,
    /// Take it over.
    Adopt,
    /// Leave it and start afresh, as the user asked.
    Fresh,
    /// Wait for an administrator.
    NeedsApproval,
}

/// What the rules look at.
pub(crate) struct Claimant<'a> {
    /// UID of the resource.
    pub(crate) uid: &'a str,
    /// Its annotations.
    pub(crate) annotations: &'a BTreeMap<String, String>,
    /// Its namespace; `None` only if it was not looked at since the resource owns the truth.
    pub(crate) namespace: Option<&'a NamespaceFacts>,
}

/// What the truth says.
pub(crate) struct Waiting<'a> {
    /// UID of the resource that claimed it.
    pub(crate) object_uid: &'a str,
    /// UID of the namespace that it belongs to.
    pub(crate) namespace_uid: &'a str,
    /// UID of the namespace that an administrator approved for it.
    pub(crate) approved: Option<&'a str>,
}

/// Decides.
///
/// A namespace that was deleted and made again may belong to another team, so its name proves nothing: the UID
/// must be the recorded one, or an administrator must have said so, for this truth or for all namespaces that
/// existed at the time of a restore.
pub(crate) fn adoption(claimant: &Claimant<'_>, waiting: &Waiting<'_>) -> Adoption {
    if claimant.uid == waiting.object_uid {
        return Adoption::Own;
    }
    if claimant
        .annotations
        .get(ANNOTATION_ADOPT)
        .is_some_and(|value| value == ADOPT_NEVER)
    {
        return Adoption::Fresh;
    }
    let Some(namespace) = claimant.namespace else {
        return Adoption::NeedsApproval;
    };
    let same = namespace.uid == waiting.namespace_uid;
    let approved = waiting.approved == Some(namespace.uid.as_str());
    let restored = match (namespace.created, namespace.approved_before) {
        (Some(created), Some(before)) => created < before,
        _ => false,
    };
    if same || approved || restored {
        Adoption::Adopt
    } else {
        Adoption::NeedsApproval
    }
}

/// What to tell the user who waits for an administrator.
pub(crate) fn approval_message(object: &str, namespace: Option<&NamespaceFacts>) -> String {
    let uid = namespace.map_or("<namespace uid>", |facts| facts.uid.as_str());
    format!(
        "{object} waits under this name, from a namespace that was deleted. A platform administrator lets this \
         namespace have it with the annotation {ANNOTATION_APPROVE_ADOPTION}: {uid} on it; or start afresh with \
         {ANNOTATION_ADOPT}: {ADOPT_NEVER} on this resource"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(uid: &str) -> NamespaceFacts {
        NamespaceFacts {
            uid: uid.into(),
            created: Some("2026-01-02T00:00:00Z".parse().unwrap()),
            approved_before: None,
        }
    }

    fn decide(
        facts: &NamespaceFacts,
        annotation: Option<&str>,
        approved: Option<&str>,
    ) -> Adoption {
        let annotations: BTreeMap<_, _> = annotation
            .map(|value| (ANNOTATION_ADOPT.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let claimant = Claimant {
            uid: "new",
            annotations: &annotations,
            namespace: Some(facts),
        };
        adoption(
            &claimant,
            &Waiting {
                object_uid: "old",
                namespace_uid: "ns-1",
                approved,
            },
        )
    }

    #[test]
    fn the_same_namespace_takes_its_own_truth_back() {
        assert_eq!(decide(&namespace("ns-1"), None, None), Adoption::Adopt);
    }

    #[test]
    fn a_re_created_namespace_inherits_nothing() {
        assert_eq!(
            decide(&namespace("ns-2"), None, None),
            Adoption::NeedsApproval
        );
        assert_eq!(
            decide(&namespace("ns-2"), None, Some("ns-3")),
            Adoption::NeedsApproval
        );
    }

    #[test]
    fn an_administrator_approves_one_namespace_by_its_uid() {
        assert_eq!(
            decide(&namespace("ns-2"), None, Some("ns-2")),
            Adoption::Adopt
        );
    }

    #[test]
    fn approval_of_a_restore_covers_only_namespaces_made_before_it() {
        let mut facts = namespace("ns-2");
        facts.approved_before = Some("2026-01-03T00:00:00Z".parse().unwrap());
        assert_eq!(decide(&facts, None, None), Adoption::Adopt);
        facts.approved_before = Some("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(decide(&facts, None, None), Adoption::NeedsApproval);
    }

    #[test]
    fn a_user_who_wants_a_fresh_start_gets_it() {
        assert_eq!(
            decide(&namespace("ns-1"), Some("Never"), None),
            Adoption::Fresh
        );
        assert_eq!(
            decide(&namespace("ns-1"), Some("Always"), None),
            Adoption::Adopt
        );
    }

    #[test]
    fn what_is_owned_already_needs_no_look_at_the_namespace() {
        let annotations = BTreeMap::new();
        let claimant = Claimant {
            uid: "old",
            annotations: &annotations,
            namespace: None,
        };
        let waiting = Waiting {
            object_uid: "old",
            namespace_uid: "ns-1",
            approved: None,
        };
        assert_eq!(adoption(&claimant, &waiting), Adoption::Own);
    }
}
