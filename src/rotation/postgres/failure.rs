//! What a server says when it does not do as it is asked, in our own words.
//!
//! Its own are never passed on: they may quote a statement, and they are whatever the other side likes. Of an error
//! only the SQLSTATE is told.

use std::error::Error as StdError;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::server::Server;
use super::watched::Refusal;
use crate::rotation::rotator::Outcome;

/// Why a login does not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server does not take this password for this user. It does not say whether there is such a user.
    Password,
    /// The server does not let the user in, whatever the password.
    NotAdmitted,
    /// It cannot work as configured.
    Rejected(String),
    /// It may work later.
    Retry(String),
}

impl Failure {
    /// Why a connection failed.
    pub(super) fn of(error: &Error, server: &Server) -> Self {
        match error.code() {
            Some(code) => Self::of_state(code, server),
            None => Self::of_transport(error, server),
        }
    }

    fn of_state(code: &SqlState, server: &Server) -> Self {
        match code.code() {
            "28P01" => Self::Password,
            "28000" => Self::NotAdmitted,
            "3D000" => Self::Rejected(format!("{server} has no such database (`dbname`)")),
            "42501" => Self::Rejected(format!(
                "{server} does not let the user connect to the database (`dbname`): it needs CONNECT on it"
            )),
            "53300" => Self::Retry(format!("{server} has too many connections")),
            "57P01" | "57P02" | "57P03" => {
                Self::Retry(format!("{server} is starting, stopping or recovering"))
            }
            _ => Self::Retry(format!("{server} does not let in: {}", state(code))),
        }
    }

    fn of_transport(error: &Error, server: &Server) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<Refusal>() {
                return Self::Rejected(format!("{server} {refusal}"));
            }
            if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
                return Self::Rejected(format!(
                    "{server} shows a certificate that the authority (`ca`) has not signed for this host"
                ));
            }
            // An error of I/O hides the one that it was made of: its source is that of the other.
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            cause = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        Self::Retry(format!("the connection to {server} fails"))
    }

    /// What it comes to where the login has to work.
    pub(super) fn required(self, server: &Server, user: &str) -> Outcome {
        match self {
            Self::Password => Outcome::OwnershipConflict(format!(
                "{server} refuses the password of user `{user}`"
            )),
            Self::NotAdmitted => Outcome::Rejected(not_admitted(server, user)),
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

fn not_admitted(server: &Server, user: &str) -> String {
    format!(
        "{server} does not let user `{user}` in: pg_hba.conf has no line for it and connections from here, or it is \
         no role that may log in"
    )
}

/// What a statement that changes `role` comes to when it fails.
pub(super) fn of_statement(error: &Error, server: &Server, role: &str) -> Outcome {
    let Some(code) = error.code() else {
        return Outcome::Retry(format!("the connection to {server} was lost"));
    };
    match code.code() {
        // What hooks on passwords raise: passwordcheck and its kin.
        "22023" => refused(server, role, code),
        hook if hook.starts_with("28") => refused(server, role, code),
        "42501" => Outcome::Rejected(format!(
            "{server} does not allow to change role `{role}`: the admin needs CREATEROLE and, since PostgreSQL 16, ADMIN \
             OPTION on the role and on the one that it is a clone of"
        )),
        "25006" => Outcome::Retry(format!("{server} takes no changes: it is read-only")),
        "57014" | "55P03" => Outcome::Retry(format!("{server} is too slow for a change")),
        // Made or dropped in the meantime: the next attempt sees it.
        "42704" | "42710" => Outcome::Retry(format!("role `{role}` of {server} has just changed")),
        permanent
            if ["0A", "22", "42"]
                .iter()
                .any(|class| permanent.starts_with(class)) =>
        {
            Outcome::Rejected(format!(
                "{server} does not know how to change role `{role}` as asked: {}",
                state(code)
            ))
        }
        _ => Outcome::Retry(format!(
            "{server} fails to change role `{role}`: {}",
            state(code)
        )),
    }
}

fn refused(server: &Server, role: &str, code: &SqlState) -> Outcome {
    Outcome::ValueRefused(format!(
        "the password policy of {server} refuses the new password of role `{role}`: {}. It is sent as a SCRAM verifier, so \
         a policy that wants to see passwords refuses every one",
        state(code)
    ))
}

/// The code, if it is one: it is text of the other side's.
pub(super) fn state(code: &SqlState) -> String {
    let code = code.code();
    let valid = code.len() == 5
        && code
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if valid {
        format!("SQLSTATE {code}")
    } else {
        "no valid SQLSTATE".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::postgres::{Addresses, Tls};

    fn server() -> Server {
        Server {
            host: "db".to_owned(),
            port: 5432,
            database: "postgres".to_owned(),
            tls: Tls::Disable,
            addresses: Addresses::NotLocal,
        }
    }

    #[test]
    fn a_login_that_fails_says_whether_the_password_the_configuration_or_the_moment_is_to_blame() {
        let of = |code| Failure::of_state(&SqlState::from_code(code), &server());
        assert_eq!(of("28P01"), Failure::Password);
        assert_eq!(of("28000"), Failure::NotAdmitted);
        for code in ["3D000", "42501"] {
            assert!(matches!(of(code), Failure::Rejected(_)), "{code}");
        }
        for code in [
            "53300", "57P03", "57P01", "08006", "08P01", "55000", "XX000",
        ] {
            assert!(matches!(of(code), Failure::Retry(_)), "{code}");
        }
    }

    #[test]
    fn a_password_that_is_refused_is_a_conflict_but_not_that_of_the_admin() {
        let of = |failure: Failure| failure.clone().required(&server(), "orders");
        assert!(matches!(
            of(Failure::Password),
            Outcome::OwnershipConflict(_)
        ));
        assert!(matches!(of(Failure::NotAdmitted), Outcome::Rejected(_)));
        let admin = Failure::Password.of_admin(&server(), "admin");
        assert!(matches!(admin, Outcome::Rejected(_)));
    }

    #[test]
    fn a_code_that_is_none_is_not_told() {
        assert_eq!(state(&SqlState::from_code("42501")), "SQLSTATE 42501");
        for text in [
            "",
            "4250",
            "425011",
            "42 01",
            "ALTER ROLE x PASSWORD 'y'",
            "abcde",
        ] {
            let told = state(&SqlState::from_code(text));
            assert_eq!(told, "no valid SQLSTATE");
        }
    }
}
