//! What can go wrong between the operator and the API server, and what follows from it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use kube::core::Status;

use crate::api::Reason;
use crate::calling::{LONGEST, within};
use crate::leader::LeadershipLost;
use crate::telling::describe;

/// How often the API server may refuse before the owner is told: a moment's trouble is not worth a status.
const FAILURES_TOLD: u32 = 2;

/// How many conflicts in a row are no news.
const CONFLICTS_TOLERATED: u32 = 5;

/// An effect or a look-up that failed. Its text names objects and fields, never a value: the API server's
/// own message is not repeated, since it may quote what was sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, could not be reached, or gave no answer in time.
    #[error("{operation} {object}: {}", describe(source))]
    Api {
        /// The verb.
        operation: &'static str,
        /// Kind and name.
        object: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// This replica does not lead any more.
    #[error("this replica does not lead any more")]
    NotLeader(#[source] LeadershipLost),
    /// Somebody made an object between our look and our write.
    #[error("{object} appeared meanwhile")]
    Raced {
        /// Kind and name.
        object: String,
    },
    /// Encryption or decryption failed while writing.
    #[error("{operation}: {source}")]
    Crypto {
        /// What was encrypted or decrypted.
        operation: &'static str,
        /// Why it failed.
        source: crate::keys::UseError,
    },
    /// A context cannot be built; the plan has built the same one before.
    #[error("encryption context")]
    Context(#[source] crate::crypto::ContextError),
    /// A version that the manifest names is neither stored nor new.
    #[error("version {0} has no ciphertext")]
    VersionLost(String),
    /// The use of a key could not be written to the audit trail, so that nothing of it may leave.
    #[error(transparent)]
    Audit(crate::audit::Unavailable),
    /// The operating system gave no randomness.
    #[error("no randomness available")]
    Random,
    /// The installation's record was not read or written.
    #[error(transparent)]
    Record(crate::installation::RecordError),
    /// A root key is missing.
    #[error(transparent)]
    Root(crate::roots::MissingRoot),
    /// A provider of root keys failed.
    #[error(transparent)]
    RootProvider(crate::roots::RootError),
}

impl From<Class> for crate::telemetry::Outcome {
    fn from(class: Class) -> Self {
        match class {
            Class::Transient => Self::Transient,
            Class::Conflict => Self::Conflict,
            Class::Refused | Class::Permanent => Self::Permanent,
        }
    }
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again, each time later.
    Transient,
    /// Look again and try again soon: somebody else wrote.
    Conflict,
    /// A right is missing, or a quota is used up: somebody has to act. But an API server that has just started refuses for a moment
    /// what it allows as soon as it has read the rights, so that the first refusals count for little.
    Refused,
    /// Trying again soon will not help; somebody has to act.
    Permanent,
}

impl Error {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Api { source, .. } => class_of(source),
            Self::Random
            | Self::Audit(_)
            | Self::Record(_)
            | Self::Root(_)
            | Self::RootProvider(_) => Class::Transient,
            // The state of a key may have changed between look and use; the next look says so.
            Self::NotLeader(_) | Self::Raced { .. } | Self::Crypto { .. } => Class::Conflict,
            Self::Context(_) | Self::VersionLost(_) => Class::Permanent,
        }
    }

    /// Whether what was asked of the API server may have been done all the same: no answer came.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Self::Api { source, .. } if !matches!(**source, kube::Error::Api(_)))
    }

    /// Whether the owner is told, after that many failures before: at once of what only a person can mend, and of an
    /// API server that keeps refusing. One that cannot be reached takes no status either.
    pub fn is_told(&self, failures: u32) -> bool {
        let answered = matches!(self, Self::Api { .. }) && !self.leaves_open();
        match self.class() {
            Class::Transient if matches!(self, Self::Audit(_)) => true,
            Class::Permanent => true,
            Class::Transient | Class::Refused => answered && failures >= FAILURES_TOLD,
            Class::Conflict => false,
        }
    }

    /// Whether it is logged, after that many failures before. A conflict is how writers meet; one that does not end
    /// is worth a line.
    pub fn is_logged(&self, failures: u32) -> bool {
        self.class() != Class::Conflict || failures >= CONFLICTS_TOLERATED
    }

    /// The condition's reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Api { source, .. } if is(source, Status::is_forbidden) => Reason::Forbidden,
            Self::Api {
                source,
                operation: "apply",
                object,
            } if is(source, Status::is_invalid) && object.starts_with("Secret ") => {
                Reason::TargetRefused
            }
            Self::Api { .. }
            | Self::NotLeader(_)
            | Self::Raced { .. }
            | Self::Random
            | Self::Record(_)
            | Self::RootProvider(_) => Reason::ApiError,
            Self::Root(_) => Reason::MaterialUnreadable,
            Self::Audit(_) => Reason::AuditUnavailable,
            Self::Crypto { .. } => Reason::KeyNotReady,
            Self::Context(_) => Reason::InvalidSpec,
            Self::VersionLost(_) => Reason::SourceLost,
        }
    }
}

fn class_of(error: &kube::Error) -> Class {
    if is(error, Status::is_conflict) || is(error, Status::is_already_exists) {
        Class::Conflict
    } else if is(error, Status::is_forbidden) {
        Class::Refused
    } else if is(error, Status::is_invalid) {
        Class::Permanent
    } else {
        Class::Transient
    }
}

/// Whether the API server answered, and its answer is of that kind.
pub(super) fn is(error: &kube::Error, kind: impl Fn(&Status) -> bool) -> bool {
    matches!(error, kube::Error::Api(status) if kind(status))
}

/// Makes one call of the API server, within the time that every call has.
pub(super) fn call<T>(
    operation: &'static str,
    object: impl fmt::Display,
    request: impl Future<Output = kube::Result<T>>,
) -> impl Future<Output = Result<T, Error>> {
    call_within(LONGEST, operation, object, request)
}

/// As [`call`], for what takes many calls.
pub(super) fn call_within<T>(
    limit: Duration,
    operation: &'static str,
    object: impl fmt::Display,
    request: impl Future<Output = kube::Result<T>>,
) -> impl Future<Output = Result<T, Error>> {
    let answer = within(limit, request);
    async move {
        answer.await.map_err(|source| Error::Api {
            operation,
            object: object.to_string(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, reason: &str) -> Error {
        let status = Status {
            code,
            reason: reason.to_owned(),
            ..Status::default()
        };
        Error::Api {
            operation: "get",
            object: "Secret shop/db".to_owned(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        }
    }

    #[test]
    fn a_refusal_is_told_when_it_lasts_and_what_is_invalid_at_once() {
        let told = |error: &Error| [0, 1, 2].map(|failures| error.is_told(failures));
        let forbidden = answered(403, "Forbidden");
        assert_eq!(told(&forbidden), [false, false, true]);
        assert_eq!(forbidden.reason(), Reason::Forbidden);
        assert_eq!(told(&answered(422, "Invalid")), [true; 3]);
        assert_eq!(told(&answered(500, "InternalError")), [false, false, true]);
        assert_eq!(told(&answered(409, "Conflict")), [false; 3]);
    }
}
