//! How the program ends: an exit code, and one line that says what is wrong and what to do about it.

use std::io;
use std::process::ExitCode;

use kube::core::Status;

use crate::telling;

/// The exit codes. A code keeps its meaning for ever: scripts ask for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done, or the answer is yes.
    Ok = 0,
    /// The answer is no, or there are warnings.
    No = 1,
    /// It could not be done: a mistake in the command line or in a file, or an error that has no code of its own. Of `doctor`:
    /// there are problems.
    Error = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// You lack a right, or a policy of the cluster refuses it.
    Forbidden = 4,
    /// Somebody else changed it meanwhile, or it exists already.
    Conflict = 5,
    /// The API server cannot be reached, or does not know you.
    Unreachable = 6,
    /// The API server refuses what was sent as invalid.
    Invalid = 7,
    /// A sealed entry was made for a secret of another name, or for another key of it.
    Renamed = 20,
    /// A sealed entry was made for another namespace.
    WrongNamespace = 21,
    /// A sealed entry was made for a sealing key that is not known here.
    UnknownKeyVersion = 22,
    /// A sealed entry was altered.
    Altered = 23,
}

impl Exit {
    /// Every code with what it means, for the manual.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Ok, "done, or the answer is yes"),
        (Self::No, "the answer is no; `doctor`: warnings"),
        (
            Self::Error,
            "a mistake in the command line or in a file, or any other error; `doctor`: problems",
        ),
        (Self::NotFound, "what was named does not exist"),
        (
            Self::Forbidden,
            "you lack a right, or a policy of the cluster refuses it",
        ),
        (
            Self::Conflict,
            "somebody else changed it meanwhile, or it exists already",
        ),
        (
            Self::Unreachable,
            "the API server cannot be reached, or does not know you",
        ),
        (
            Self::Invalid,
            "the API server refuses what was sent as invalid",
        ),
        (
            Self::Renamed,
            "a sealed entry is for another secret, or another key of it",
        ),
        (
            Self::WrongNamespace,
            "a sealed entry is for another namespace",
        ),
        (
            Self::UnknownKeyVersion,
            "a sealed entry is for a sealing key that is not known",
        ),
        (Self::Altered, "a sealed entry was altered"),
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why something was not done. Names objects, fields and limits, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// What is wrong, and the remedy: one line. Empty: there is nobody to tell.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with that code.
    pub(crate) fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        Self {
            exit,
            message: one_line(message.as_ref()),
        }
    }

    /// One without a code of its own.
    pub(crate) fn error(message: impl AsRef<str>) -> Self {
        Self::new(Exit::Error, message)
    }

    /// What the API server, or the way to it, has against a call. `what` says what was tried: `get ManagedKey shop/orders`.
    pub(crate) fn of_call(what: &str, error: &kube::Error) -> Self {
        let exit = exit_of(error);
        let remedy = match exit {
            Exit::NotFound if lacks_kind(error) => {
                "; Keystead is not installed in this cluster: check --context"
            }
            Exit::NotFound => "; check the name and -n",
            Exit::Forbidden if !is_policy(error) => {
                "; ask for a Role with that right, or check --as and --context"
            }
            Exit::Conflict => "; look at it again and repeat the command",
            Exit::Unreachable => "; check --context, your credentials and the network",
            _ => "",
        };
        Self::new(exit, format!("{what}: {}{remedy}", told(error)))
    }
}

impl From<io::Error> for Failure {
    /// Of writing to standard output. Whoever closed it wants to read no more, and is not told why it ends.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, "");
        }
        Self::error(format!("the output cannot be written: {}", error.kind()))
    }
}

fn exit_of(error: &kube::Error) -> Exit {
    let kube::Error::Api(status) = error else {
        return match error {
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Exit::Error,
            _ => Exit::Unreachable,
        };
    };
    match status.code {
        404 => Exit::NotFound,
        401 => Exit::Unreachable,
        403 => Exit::Forbidden,
        _ if is_policy(error) => Exit::Forbidden,
        409 => Exit::Conflict,
        400 | 422 => Exit::Invalid,
        429 | 500.. => Exit::Unreachable,
        _ => Exit::Error,
    }
}

/// What the API server calls a refusal of an admission policy, in front of the policy's own words.
const DENIED: &str = "denied request: ";

/// What the API server says before it names fields that the definition of a kind does not have.
const UNKNOWN_FIELDS: &str = "strict decoding error: ";

fn is_policy(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.contains(DENIED))
}

/// Whether the API server does not know the kind at all.
fn lacks_kind(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    status
        .details
        .as_ref()
        .is_none_or(|details| details.name.is_empty())
}

/// An error in words that cannot contain a value. The words of an admission policy are whole: they are ours, and name objects.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => told_status(status, error),
        // What a credential plugin printed is not repeated: it may be a token.
        kube::Error::Auth(_) => "the kubeconfig's credentials could not be had".to_owned(),
        _ => telling::describe(error),
    }
}

fn told_status(status: &Status, error: &kube::Error) -> String {
    if let Some((_, words)) = status.message.split_once(DENIED) {
        return words.to_owned();
    }
    if let Some((_, fields)) = status.message.split_once(UNKNOWN_FIELDS) {
        return format!(
            "the definitions in the cluster are older than this command and lack a field: {fields}"
        );
    }
    match status.code {
        401 => "the API server does not know you".to_owned(),
        404 if lacks_kind(error) => "the API server does not know this kind".to_owned(),
        404 => "there is none of that name".to_owned(),
        _ => telling::describe(error),
    }
}

/// The text in one line: whoever reads a log expects that.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, reason: &str, message: &str, name: &str) -> kube::Error {
        let status = serde_json::json!({
            "code": code, "reason": reason, "message": message, "details": {"name": name, "kind": "managedkeys"},
        });
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn what_the_api_server_answers_has_a_code_of_its_own_and_a_remedy() {
        let policy = "managedkeys \"k\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: needs x";
        for (code, reason, message, name, exit, part) in [
            (404, "NotFound", "no", "k", Exit::NotFound, "check the name"),
            (404, "NotFound", "no", "", Exit::NotFound, "not installed"),
            (403, "Forbidden", "cannot get", "k", Exit::Forbidden, "Role"),
            (422, "Invalid", policy, "k", Exit::Forbidden, "needs x"),
            (409, "Conflict", "changed", "k", Exit::Conflict, "repeat"),
            (401, "Unauthorized", "", "", Exit::Unreachable, "know you"),
            (422, "Invalid", "C4N4RY", "k", Exit::Invalid, "Invalid"),
            (500, "Internal", "C4N4RY", "k", Exit::Unreachable, "network"),
        ] {
            let failure = Failure::of_call("get", &answer(code, reason, message, name));
            assert_eq!(failure.exit, exit, "{code} {message}");
            assert!(failure.message.contains(part), "{failure}");
            assert!(!failure.message.contains("C4N4RY"), "{failure}");
        }
    }

    #[test]
    fn a_failure_is_one_line_and_a_closed_output_is_none() {
        assert_eq!(Failure::error("a\n  b\r\nc").message, "a b c");
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.exit, closed.message.as_str()), (Exit::Ok, ""));
    }

    #[test]
    fn every_code_has_one_meaning() {
        let mut codes: Vec<_> = Exit::ALL.iter().map(|(exit, _)| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes.len(), Exit::ALL.len());
        assert!(codes.is_sorted(), "{codes:?}");
    }
}
