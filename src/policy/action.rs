//! The actions that policies speak of, patterns of them, and what each one is called in Kubernetes RBAC.

use std::fmt;

/// Actions on one kind of resource.
pub trait ActionSet: Copy + Eq + fmt::Debug + fmt::Display + 'static {
    /// Every action, in the order of declaration; at most 32.
    const ALL: &'static [Self];

    /// The name as it is written in policies and grants: that of the AWS call.
    fn name(self) -> &'static str;

    /// Its place in [`Self::ALL`].
    fn index(self) -> usize;
}

/// Most actions of one kind of resource.
pub(super) const MAX_ACTIONS: usize = 32;

/// Declares the actions on a resource once: variant, subresource, RBAC verb.
macro_rules! actions {
    ($(#[$about:meta])* $set:ident of $resource:literal; $($action:ident => $subresource:expr, $verb:literal;)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // Each is the AWS call of the same name.
        pub enum $set { $($action,)* }

        impl $set {
            /// Every action, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// The name as it is written in policies and grants.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$action => stringify!($action),)* }
            }

            /// What Kubernetes RBAC is asked when a policy delegates to it.
            pub const fn rbac(self) -> RbacAttributes {
                let resource = $resource;
                match self {
                    $(Self::$action => RbacAttributes { resource, subresource: $subresource, verb: $verb },)*
                }
            }
        }

        impl ActionSet for $set {
            const ALL: &'static [Self] = Self::ALL;

            fn name(self) -> &'static str {
                self.name()
            }

            fn index(self) -> usize {
                self as usize
            }
        }

        const _: () = assert!($set::ALL.len() <= MAX_ACTIONS);

        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

actions! {
    /// Something that can be done with a key. The names are those of AWS KMS: its grant operations, then its administrative
    /// calls.
    Action of "managedkeys";
    Encrypt => Some("encrypt"), "create";
    Decrypt => Some("decrypt"), "create";
    GenerateDataKey => Some("generatedatakey"), "create";
    GenerateDataKeyWithoutPlaintext => Some("generatedatakeywithoutplaintext"), "create";
    GenerateDataKeyPair => Some("generatedatakeypair"), "create";
    GenerateDataKeyPairWithoutPlaintext => Some("generatedatakeypairwithoutplaintext"), "create";
    ReEncryptFrom => Some("reencryptfrom"), "create";
    ReEncryptTo => Some("reencryptto"), "create";
    Sign => Some("sign"), "create";
    Verify => Some("verify"), "create";
    GetPublicKey => Some("getpublickey"), "create";
    GenerateMac => Some("generatemac"), "create";
    VerifyMac => Some("verifymac"), "create";
    DeriveSharedSecret => Some("derivesharedsecret"), "create";
    DescribeKey => None, "get";
    CreateGrant => Some("grants"), "update";
    RetireGrant => Some("grants"), "update";
    PutKeyPolicy => Some("policy"), "update";
    EnableKey => Some("state"), "update";
    DisableKey => Some("state"), "update";
    ScheduleKeyDeletion => Some("deletion"), "update";
    CancelKeyDeletion => Some("deletion"), "update";
    RotateKeyOnDemand => Some("rotate"), "update";
    ImportKeyMaterial => Some("import"), "update";
    DeleteImportedKeyMaterial => Some("import"), "update";
    UpdateAlias => Some("alias"), "update";
}

actions! {
    /// Something that can be done with a secret by a call of its own. The names are those of AWS Secrets Manager.
    SecretAction of "managedsecrets";
    GetSecretValue => Some("value"), "get";
    DescribeSecret => None, "get";
    ListSecretVersionIds => None, "get";
    PutSecretValue => Some("value"), "put";
    UpdateSecretVersionStage => Some("value"), "put";
}

impl SecretAction {
    /// Whether it changes the secret. A pod that mounts it has no say in that.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::PutSecretValue | Self::UpdateSecretVersionStage)
    }
}

impl Action {
    /// Whether it changes the key itself. Such an action is decided in the API server, which knows no UID of another namespace.
    pub const fn is_administrative(self) -> bool {
        matches!(
            self,
            Self::PutKeyPolicy
                | Self::EnableKey
                | Self::DisableKey
                | Self::ScheduleKeyDeletion
                | Self::CancelKeyDeletion
                | Self::RotateKeyOnDemand
                | Self::ImportKeyMaterial
                | Self::DeleteImportedKeyMaterial
                | Self::UpdateAlias
        )
    }
}

/// The part of a `SubjectAccessReview` that depends on the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RbacAttributes {
    /// `managedkeys` or `managedsecrets`.
    pub resource: &'static str,
    /// Its subresource; none for reading the resource itself.
    pub subresource: Option<&'static str>,
    /// RBAC verb.
    pub verb: &'static str,
}

impl fmt::Display for RbacAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.verb, self.resource)?;
        self.subresource
            .iter()
            .try_for_each(|subresource| write!(f, "/{subresource}"))
    }
}

/// A pattern that no action matches, so that a misspelt Deny is refused rather than ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAction;

impl fmt::Display for UnknownAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("matches no action; write the name of an AWS call, with * for any characters")
    }
}

impl std::error::Error for UnknownAction {}

/// The actions that a name (`Decrypt`) or a wildcard (`Generate*`, `*`) stands for; upper and lower case differ.
///
/// # Errors
/// It matches no action.
pub(super) fn matching_actions<A: ActionSet>(pattern: &str) -> Result<Vec<A>, UnknownAction> {
    let matching = |action: &A| matches_wildcard(pattern, action.name());
    let found: Vec<_> = A::ALL.iter().copied().filter(matching).collect();
    if found.is_empty() {
        return Err(UnknownAction);
    }
    Ok(found)
}

/// Whether `name` is `pattern` with each `*` replaced by any characters, or none.
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The earliest place leaves the most for what follows, so no other place needs trying.
    for part in middle.split('*') {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => naive(rest, name),
            (Some((b'*', rest)), Some((_, tail))) => naive(rest, name) || naive(pattern, tail),
            (Some((p, rest)), Some((n, tail))) => p == n && naive(rest, tail),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// All words over `a`, `b` (and `*`, in patterns) of up to `length` characters.
    fn words(alphabet: &[char], length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..length {
            let until = all.len();
            for at in from..until {
                for letter in alphabet {
                    let word = format!("{}{letter}", all[at]);
                    all.push(word);
                }
            }
            from = until;
        }
        all
    }

    #[test]
    fn wildcards_match_as_the_naive_reference_does() {
        let names = words(&['a', 'b'], 5);
        for pattern in words(&['a', 'b', '*'], 5) {
            for name in &names {
                let expected = naive(pattern.as_bytes(), name.as_bytes());
                assert_eq!(
                    matches_wildcard(&pattern, name),
                    expected,
                    "{pattern} {name}"
                );
            }
        }
    }

    #[test]
    fn a_name_matches_only_its_own_action() {
        for action in Action::ALL {
            assert_eq!(matching_actions(action.name()), Ok(vec![*action]));
        }
        for action in SecretAction::ALL {
            assert_eq!(matching_actions(action.name()), Ok(vec![*action]));
        }
    }

    #[test]
    fn the_schema_knows_the_same_names() {
        let names: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names, crate::api::key_policy::ACTION_NAMES);
        let names: Vec<_> = SecretAction::ALL.iter().map(|a| a.name()).collect();
        assert_eq!(names, crate::api::secret_policy::ACTION_NAMES);
    }

    #[test]
    fn a_star_matches_every_action() {
        assert_eq!(matching_actions("*"), Ok(Action::ALL.to_vec()));
        assert_eq!(
            matching_actions("*Secret*"),
            Ok(SecretAction::ALL.to_vec()),
            "each speaks of its own kind only"
        );
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_refused() {
        for pattern in ["", "decrypt", "Decrypts", "Foo*", "kms:Decrypt", "*Nothing"] {
            assert_eq!(
                matching_actions::<Action>(pattern),
                Err(UnknownAction),
                "{pattern}"
            );
        }
        for pattern in ["Decrypt", "getSecretValue", "Delete*"] {
            assert!(
                matching_actions::<SecretAction>(pattern).is_err(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn use_is_created_and_administration_is_an_update() {
        let expected = RbacAttributes {
            resource: "managedkeys",
            subresource: Some("generatedatakey"),
            verb: "create",
        };
        assert_eq!(Action::GenerateDataKey.rbac(), expected);
        let expected = RbacAttributes {
            resource: "managedkeys",
            subresource: Some("policy"),
            verb: "update",
        };
        assert_eq!(Action::PutKeyPolicy.rbac(), expected);
        let expected = RbacAttributes {
            resource: "managedkeys",
            subresource: None,
            verb: "get",
        };
        assert_eq!(Action::DescribeKey.rbac(), expected);
        let asked = SecretAction::GetSecretValue.rbac();
        assert_eq!(asked.to_string(), "get on managedsecrets/value");
    }
}
