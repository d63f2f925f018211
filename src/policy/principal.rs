//! Who asks: a person or pod that Kubernetes authenticated, or a secret that the operator works for.

use std::fmt;

/// Prefix of the names that secrets have as principals. No authenticated user may have such a name.
const RESERVED: &str = "keystead:";
const SECRET: &str = "keystead:secret:";
const SECRETS: &str = "keystead:secrets:";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts:";

/// Who asks. Made by one of the functions below only, so that nobody who signs in as `keystead:secret:...` is taken for
/// a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    pub(super) home: Option<Home>,
    pub(super) is_secret: bool,
}

/// The namespace that a principal belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) namespace: String,
    /// Its UID now. Without it nothing is given to the principal for what its namespace is.
    pub(super) uid: Option<String>,
}

/// A user or group name that only the operator itself may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedName(pub String);

impl fmt::Display for ReservedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is reserved: names that begin with keystead: are those of secrets",
            self.0
        )
    }
}

impl std::error::Error for ReservedName {}

impl Principal {
    /// Somebody whom Kubernetes authenticated. `namespace_uid`: the UID that the namespace of a service account has now;
    /// without it, statements and grants that speak of the account give it nothing.
    ///
    /// # Errors
    /// The user's or a group's name begins with `keystead:`.
    pub fn user(
        user: impl Into<String>,
        groups: impl IntoIterator<Item = String>,
        namespace_uid: Option<String>,
    ) -> Result<Self, ReservedName> {
        let (user, groups) = (user.into(), Vec::from_iter(groups));
        let reserved = |name: &&String| name.starts_with(RESERVED);
        if let Some(name) = [&user].into_iter().chain(&groups).find(reserved) {
            return Err(ReservedName(name.clone()));
        }
        let home = namespace_of_user(&user).map(|namespace| Home {
            namespace: namespace.to_owned(),
            uid: namespace_uid,
        });
        Ok(Self {
            user,
            groups,
            home,
            is_secret: false,
        })
    }

    /// A `ManagedSecret` or `Parameter`, for which the operator itself uses the key.
    pub fn secret(namespace: &str, name: &str, namespace_uid: Option<String>) -> Self {
        Self {
            user: format!("{SECRET}{namespace}:{name}"),
            groups: vec![format!("{SECRETS}{namespace}")],
            home: Some(Home {
                namespace: namespace.to_owned(),
                uid: namespace_uid,
            }),
            is_secret: true,
        }
    }

    /// The user name.
    pub fn name(&self) -> &str {
        &self.user
    }

    /// The groups.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The namespace of a service account or secret.
    pub fn namespace(&self) -> Option<&str> {
        self.home.as_ref().map(|home| home.namespace.as_str())
    }
}

/// The user name of a service account.
pub fn service_account(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT}{namespace}:{name}")
}

/// The namespace that a user name belongs to: that of a service account or secret.
pub fn namespace_of_user(user: &str) -> Option<&str> {
    let rest = user
        .strip_prefix(SERVICE_ACCOUNT)
        .or_else(|| user.strip_prefix(SECRET))?;
    rest.split_once(':').map(|(namespace, _)| namespace)
}

/// The namespace that a group belongs to: that of its service accounts or secrets.
pub fn namespace_of_group(group: &str) -> Option<&str> {
    group
        .strip_prefix(SERVICE_ACCOUNTS)
        .or_else(|| group.strip_prefix(SECRETS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_signs_in_as_a_secret() {
        for (user, groups) in [
            ("keystead:secret:shop:db", vec![]),
            (
                "ann",
                vec!["ops".to_owned(), "keystead:secrets:shop".into()],
            ),
        ] {
            assert!(Principal::user(user, groups, None).is_err(), "{user}");
        }
        assert!(Principal::user("ann", ["ops".to_owned()], None).is_ok());
    }

    #[test]
    fn a_principal_knows_its_namespace() {
        let account = Principal::user(service_account("shop", "orders"), [], None).unwrap();
        assert_eq!(account.namespace(), Some("shop"));
        assert_eq!(
            Principal::secret("shop", "db", None).namespace(),
            Some("shop")
        );
        assert_eq!(Principal::user("ann", [], None).unwrap().namespace(), None);
        assert_eq!(
            namespace_of_group("system:serviceaccounts:shop"),
            Some("shop")
        );
        assert_eq!(namespace_of_group("system:serviceaccounts"), None);
    }
}
