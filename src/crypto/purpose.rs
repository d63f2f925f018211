//! What an envelope is for and where it belongs, as pairs of its encryption context.
//!
//! Names, not UIDs: a backup restored elsewhere must open.

use super::{context::EncryptionContext, error::ContextError};

/// The use and the place of an envelope of ours. Two places never give the same context.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose<'a> {
    /// One version of a secret's value, in the truth.
    Value {
        /// The secret's namespace.
        namespace: &'a str,
        /// The secret's name.
        secret: &'a str,
        /// The version's id.
        version: &'a str,
    },
    /// The manifest of a secret: its versions and stages, in the truth.
    Manifest {
        /// The secret's namespace.
        namespace: &'a str,
        /// The secret's name.
        secret: &'a str,
    },
    /// One key of a secret, delivered as ciphertext or committed to Git.
    Sealed {
        /// The secret's namespace.
        namespace: &'a str,
        /// The secret's name.
        secret: &'a str,
        /// The key within the secret.
        key: &'a str,
    },
    /// Any key of any secret of a namespace, committed to Git with the scope of the namespace.
    SealedForNamespace {
        /// The namespace.
        namespace: &'a str,
    },
    /// What a call of the API puts, on its way from the server to the controller.
    Change {
        /// The secret's namespace.
        namespace: &'a str,
        /// The secret's name.
        secret: &'a str,
        /// The id of the version to be.
        version: &'a str,
    },
    /// A secret's current value, on its way to replicas in other clusters.
    Replica {
        /// The source's namespace.
        namespace: &'a str,
        /// The source's name.
        secret: &'a str,
        /// The version's id.
        version: &'a str,
        /// The sequence number of the source's manifest, in decimal digits.
        sequence: &'a str,
        /// The source's UID. Not a backup that must open elsewhere, but a source that was made anew and counts anew.
        uid: &'a str,
    },
}

impl Purpose<'_> {
    /// The context that binds a ciphertext to this place and to the user's pairs.
    ///
    /// # Errors
    /// Together they exceed the bounds.
    pub fn context(&self, user: &EncryptionContext) -> Result<EncryptionContext, ContextError> {
        let (purpose, namespace, place) = match *self {
            Self::Value {
                namespace,
                secret,
                version,
            } => (
                "value",
                namespace,
                vec![("keystead:secret", secret), ("keystead:version", version)],
            ),
            Self::Change {
                namespace,
                secret,
                version,
            } => (
                "change",
                namespace,
                vec![("keystead:secret", secret), ("keystead:version", version)],
            ),
            Self::Manifest { namespace, secret } => {
                ("manifest", namespace, vec![("keystead:secret", secret)])
            }
            Self::Sealed {
                namespace,
                secret,
                key,
            } => (
                "sealed",
                namespace,
                vec![("keystead:secret", secret), ("keystead:key", key)],
            ),
            Self::SealedForNamespace { namespace } => {
                ("sealed", namespace, vec![("keystead:scope", "namespace")])
            }
            Self::Replica {
                namespace,
                secret,
                version,
                sequence,
                uid,
            } => (
                "replica",
                namespace,
                vec![
                    ("keystead:secret", secret),
                    ("keystead:version", version),
                    ("keystead:sequence", sequence),
                    ("keystead:uid", uid),
                ],
            ),
        };
        let own = [
            ("keystead:purpose", purpose),
            ("keystead:namespace", namespace),
        ];
        let mut context = user.clone();
        for (key, value) in own.into_iter().chain(place) {
            context.insert(key.to_owned(), value.to_owned())?;
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_names_its_place() {
        let user = EncryptionContext::user([("team", "orders")]).unwrap();
        let pairs = |purpose: Purpose<'_>| {
            let context = purpose.context(&user).unwrap();
            context
                .pairs()
                .map(|(k, v)| format!("{k}={v}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let (namespace, secret) = ("shop", "db");
        assert_eq!(
            pairs(Purpose::Value {
                namespace,
                secret,
                version: "v1"
            }),
            "keystead:namespace=shop keystead:purpose=value keystead:secret=db keystead:version=v1 \
             team=orders"
        );
        assert_eq!(
            pairs(Purpose::Change {
                namespace,
                secret,
                version: "v1"
            }),
            "keystead:namespace=shop keystead:purpose=change keystead:secret=db keystead:version=v1 \
             team=orders"
        );
        assert_eq!(
            pairs(Purpose::Manifest { namespace, secret }),
            "keystead:namespace=shop keystead:purpose=manifest keystead:secret=db team=orders"
        );
        assert_eq!(
            pairs(Purpose::Sealed {
                namespace,
                secret,
                key: "password"
            }),
            "keystead:key=password keystead:namespace=shop keystead:purpose=sealed \
             keystead:secret=db team=orders"
        );
        assert_eq!(
            pairs(Purpose::SealedForNamespace { namespace }),
            "keystead:namespace=shop keystead:purpose=sealed keystead:scope=namespace team=orders"
        );
        assert_eq!(
            pairs(Purpose::Replica {
                namespace,
                secret,
                version: "v1",
                sequence: "7",
                uid: "u1"
            }),
            "keystead:namespace=shop keystead:purpose=replica keystead:secret=db \
             keystead:sequence=7 keystead:uid=u1 keystead:version=v1 team=orders"
        );
    }
}
