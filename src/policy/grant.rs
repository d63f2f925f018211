//! What one grant gives. It does not know whether the grantee's namespace was made anew, nor what a policy denies:
//! whoever decides has to look at both first.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::Action;
use crate::crypto::RESERVED_PREFIXES;

/// Pairs of an encryption context.
pub type Context = BTreeMap<String, String>;

/// A grant, ready to be matched.
#[derive(Clone, Debug)]
pub struct Grant {
    /// User name that may use it.
    pub grantee: String,
    /// What it gives.
    pub operations: Vec<Action>,
    /// The context must be exactly this, reserved pairs left aside.
    pub context_equals: Option<Context>,
    /// These pairs must be in the context.
    pub context_subset: Context,
    /// From this very instant on it gives nothing.
    pub expires_at: Option<Timestamp>,
}

impl Grant {
    /// Whether it gives `action` to `user` for a message with `context`, at `now`.
    pub fn gives(&self, user: &str, action: Action, context: &Context, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
            && self.grantee == user
            && self.operations.contains(&action)
            && self
                .context_subset
                .iter()
                .all(|(key, value)| context.get(key) == Some(value))
            && self
                .context_equals
                .as_ref()
                .is_none_or(|expected| own(context).eq(own(expected)))
    }
}

/// The pairs that a user chose: neither the operator nor an SDK adds them by itself.
fn own(context: &Context) -> impl Iterator<Item = (&String, &String)> {
    let is_reserved = |key: &str| RESERVED_PREFIXES.iter().any(|p| key.starts_with(p));
    context.iter().filter(move |(key, _)| !is_reserved(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Context {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn grant() -> Grant {
        Grant {
            grantee: "ann".into(),
            operations: vec![Action::Decrypt],
            context_equals: None,
            context_subset: pairs(&[]),
            expires_at: None,
        }
    }

    fn opens(grant: &Grant, context: &[(&str, &str)]) -> bool {
        grant.gives(
            "ann",
            Action::Decrypt,
            &pairs(context),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_grant_gives_only_its_operations_to_its_grantee() {
        let gives = |user, action| grant().gives(user, action, &pairs(&[]), Timestamp::UNIX_EPOCH);
        assert!(gives("ann", Action::Decrypt));
        assert!(!gives("ann", Action::Encrypt));
        assert!(!gives("bob", Action::Decrypt));
    }

    #[test]
    fn a_grant_ends_at_its_very_instant() {
        let end = |nanosecond| Some(Timestamp::from_nanosecond(nanosecond).unwrap());
        assert!(opens(
            &Grant {
                expires_at: end(1),
                ..grant()
            },
            &[]
        ));
        assert!(!opens(
            &Grant {
                expires_at: end(0),
                ..grant()
            },
            &[]
        ));
    }

    #[test]
    fn equals_ignores_reserved_pairs_and_nothing_else() {
        let exact = Grant {
            context_equals: Some(pairs(&[("team", "a")])),
            ..grant()
        };
        let reserved = [
            ("team", "a"),
            ("keystead:key", "k"),
            ("aws-crypto-public-key", "p"),
        ];
        assert!(opens(&exact, &reserved));
        assert!(!opens(&exact, &[("team", "a"), ("more", "b")]));
        assert!(!opens(&exact, &[("team", "b")]));
        assert!(!opens(&exact, &[]));
    }

    #[test]
    fn subset_asks_for_its_pairs_and_allows_more() {
        let subset = Grant {
            context_subset: pairs(&[("team", "a")]),
            ..grant()
        };
        assert!(opens(&subset, &[("team", "a"), ("more", "b")]));
        assert!(!opens(&subset, &[("team", "b")]));
        assert!(!opens(&subset, &[]));
    }
}
