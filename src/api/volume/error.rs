//! Why the attributes of a volume are refused.

use super::{KNOWN, MAX_ITEMS, MAX_NAME, MAX_SOURCES};

/// Why the attributes of a volume are refused. The texts are for whoever wrote the pod: they become its event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// There is no attribute of that name.
    #[error("there is no volume attribute {0:?}; those that exist are {known}", known = KNOWN.join(", "))]
    UnknownAttribute(String),
    /// No secret is named.
    #[error(
        "no secret is named: set the volume attribute \"secret\" to the name of a ManagedSecret of the pod's namespace"
    )]
    NoSecret,
    /// Both ways of naming secrets at once.
    #[error(
        "the volume attributes \"secret\" and \"sources\" exclude each other: name one secret, or list several"
    )]
    BothForms,
    /// What belongs to one secret stands beside a list of several.
    #[error(
        "the volume attribute {0:?} goes with \"secret\"; with \"sources\" it is a field of each source"
    )]
    NotWithSources(&'static str),
    /// An attribute does not have its form.
    #[error("the volume attribute {attribute:?} is not valid: {problem}")]
    Form {
        /// Its name.
        attribute: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The name of a secret cannot be one.
    #[error(
        "{0:?} cannot be the name of a ManagedSecret: secrets are named without their namespace, which is the pod's"
    )]
    SecretName(String),
    /// Nothing, or more than a volume may have.
    #[error("a volume has 1 to {MAX_SOURCES} sources, this one has {0}")]
    SourceCount(usize),
    /// More items than a volume may have.
    #[error("a volume has at most {MAX_ITEMS} items, this one has {0}")]
    ItemCount(usize),
    /// The key of an item cannot be one.
    #[error("an item of secret {secret} has the key {key:?}: keys have 1 to {MAX_NAME} characters")]
    Key {
        /// The secret.
        secret: String,
        /// The key.
        key: String,
    },
    /// The path of an item cannot be one.
    #[error("the item {key:?} of secret {secret} has a path that is not valid: {problem}")]
    Path {
        /// The secret.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two items have one place.
    #[error("two items have the path {0:?}, or one is a folder of the other's path")]
    SamePath(String),
}
