//! What a server says when it does not do as it is asked, in our own words.
//!
//! Its own are never passed on: they quote what they were asked for, digests of passwords included, and they are whatever
//! the other side likes. Of an error only the code is told.

use std::io;

use rustls::AlertDescription;

use super::protocol::Refusal;
use super::server::Server;
use crate::rotation::rotator::Outcome;

/// Why a login does not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server does not take this password for this user. It says the same where there is no such user, and where the
    /// user is off.
    Password,
    /// It cannot work as configured.
    Rejected(String),
    /// It may work later.
    Retry(String),
}

/// Why an answer does not come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection fails.
    Lost(io::Error),
    /// What comes is no answer, or has no end.
    Protocol,
}

impl Failure {
    /// Why a login is refused. There is TLS already, so that it is the server's own word.
    pub(super) fn of_refusal(refusal: &Refusal, server: &Server) -> Self {
        match refusal.code() {
            "WRONGPASS" => Self::Password,
            "DENIED" => Self::Rejected(format!(
                "{server} is in protected mode, and lets in nobody from elsewhere (`protected-mode`)"
            )),
            "ERR" if refusal.says("wrong number of arguments") => Self::Rejected(old(server)),
            _ => general(refusal, server).unwrap_or_else(|| {
                Self::Retry(format!("{server} does not let in: {}", told(refusal)))
            }),
        }
    }

    /// Why a connection fails.
    pub(super) fn of_broken(broken: &Broken, server: &Server) -> Self {
        match broken {
            Broken::Lost(error) => Self::of_transport(error, server),
            Broken::Protocol => Self::Rejected(format!(
                "{server} does not answer as a server of Redis does, or answers more than is read"
            )),
        }
    }

    /// Why TLS, or what comes by it, fails.
    pub(super) fn of_transport(error: &io::Error, server: &Server) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Rejected(format!(
                "{server} shows a certificate that the authority (`ca`) has not signed for this host"
            )),
            Some(rustls::Error::InvalidMessage(_)) => Self::Rejected(format!(
                "{server} offers no TLS on this port, which is needed (`tls-port`)"
            )),
            // The latter is what there is before TLS 1.3.
            Some(rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
            )) => Self::Rejected(format!(
                "{server} wants a certificate of its clients, or another kind of TLS: passwords are of use only with \
                 `tls-auth-clients` no or optional"
            )),
            _ => Self::Retry(format!("the connection to {server} fails")),
        }
    }

    /// What it comes to where the login has to work.
    pub(super) fn required(self, server: &Server, user: &str) -> Outcome {
        match self {
            Self::Password => Outcome::OwnershipConflict(format!(
                "{server} refuses the password of user `{user}`, or the user is off"
            )),
            Self::Rejected(why) => Outcome::Rejected(why),
            Self::Retry(why) => Outcome::Retry(why),
        }
    }

    /// What it comes to where the login is the admin's, of whom nobody says that the password is about to change.
    pub(super) fn of_admin(self, server: &Server, user: &str) -> Outcome {
        match self {
            Self::Password => Outcome::Rejected(format!(
                "{server} refuses the password of the admin `{user}`"
            )),
            other => other.required(server, user),
        }
    }
}

/// Who asks for a change of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// The user itself.
    Itself,
    /// An admin.
    Admin,
}

/// What a command comes to that is refused, when it is about `user`.
pub(super) fn of_command(
    refusal: &Refusal,
    server: &Server,
    user: &str,
    command: &str,
    asking: Asking,
) -> Outcome {
    match refusal.code() {
        "NOPERM" => Outcome::Rejected(match asking {
            Asking::Admin => format!(
                "{server} does not let the admin change user `{user}`: it needs +acl|getuser +acl|setuser +acl|dryrun \
                 +acl|save +config|get +info, and without a file of users also +acl|list +config|rewrite ({command} is \
                 refused)"
            ),
            Asking::Itself => format!(
                "{server} does not let user `{user}` change its own password: name an admin ({command} is refused). Redis \
                 has no right to change only oneself; a user with +acl|setuser may change every other one"
            ),
        }),
        // A password or a user that is gone since it was looked at.
        "ERR" if refusal.says("does not exist") || refusal.says("not found") => {
            Outcome::Retry(format!("user `{user}` of {server} has just changed"))
        }
        "ERR" if refusal.says("unknown") => Outcome::Rejected(format!(
            "{server} has no command {command}: it is older than Redis 7, the command was renamed, or it is a service that \
             has its users elsewhere"
        )),
        "ERR" if refusal.says("syntax error") => Outcome::Rejected(old(server)),
        _ => match general(refusal, server) {
            Some(failure) => failure.required(server, user),
            None => Outcome::Retry(format!(
                "{server} fails to change user `{user}`: {command} is refused ({})",
                told(refusal)
            )),
        },
    }
}

/// What means the same at a login and later.
fn general(refusal: &Refusal, server: &Server) -> Option<Failure> {
    Some(match refusal.code() {
        "MOVED" | "ASK" | "CROSSSLOT" => Failure::Rejected(cluster(server)),
        "LOADING" | "BUSY" | "TRYAGAIN" => {
            Failure::Retry(format!("{server} is starting, or busy ({})", told(refusal)))
        }
        "READONLY" | "MASTERDOWN" | "NOREPLICAS" | "CLUSTERDOWN" => {
            Failure::Retry(format!("{server} takes no changes now ({})", told(refusal)))
        }
        "MISCONF" | "OOM" => Failure::Retry(format!(
            "{server} takes no changes: it has no room, or cannot write to its disk ({})",
            told(refusal)
        )),
        "NOAUTH" => Failure::Retry(format!("{server} does not know the login any more")),
        "ERR" if refusal.says("max number of clients") => {
            Failure::Retry(format!("{server} has too many connections"))
        }
        _ => return None,
    })
}

fn told(refusal: &Refusal) -> String {
    format!("error {}", refusal.code())
}

/// A server whose nodes have users of their own.
pub(super) fn cluster(server: &Server) -> String {
    format!(
        "{server} is a node of a cluster, of which each has users of its own: a change of one node would leave the others \
         with the password before. Change users of a cluster by what runs it"
    )
}

/// A server whose users are not as they are here.
pub(super) fn old(server: &Server) -> String {
    format!("{server} is older than Redis 7, whose rules of users are others")
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
