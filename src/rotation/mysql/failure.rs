//! What a server says when it does not do as it is asked, in our own words.
//!
//! Its own are never passed on: they may quote a statement, and they are whatever the other side likes. Of an error
//! only the number is told.

use std::error::Error as StdError;
use std::io;

use mysql_async::{DriverError, Error};

use super::server::Server;
use crate::rotation::rotator::Outcome;

/// `ER_ACCESS_DENIED_ERROR`, and the SQLSTATE with which it comes.
const DENIED: u16 = 1045;
const DENIED_STATE: &str = "28000";

/// Why a login does not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server does not take this password for this user. It does not say whether there is such a user.
    Password,
    /// The account is locked.
    Locked,
    /// The password has expired.
    Expired,
    /// The server asks for another way to log in. MySQL does so of some users that it does not have, too, so that nobody can
    /// find out which ones it has.
    OtherWay,
    /// It cannot work as configured.
    Rejected(String),
    /// It may work later.
    Retry(String),
}

impl Failure {
    /// Why a connection failed.
    pub(super) fn of(error: &Error, server: &Server) -> Self {
        match error {
            // Before TLS there are no states, and anybody in between may say this.
            Error::Server(error) if error.code == DENIED && error.state != DENIED_STATE => {
                Self::Retry(format!(
                    "{server} refuses the login before TLS, where nobody may say so"
                ))
            }
            Error::Server(error) => Self::of_code(error.code, server),
            Error::Driver(error) => Self::of_driver(error, server),
            _ => Self::of_transport(error, server),
        }
    }

    fn of_code(code: u16, server: &Server) -> Self {
        match code {
            DENIED => Self::Password,
            // ER_ACCOUNT_HAS_BEEN_LOCKED of MySQL and of MariaDB
            3118 | 4151 => Self::Locked,
            // ER_MUST_CHANGE_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN
            1820 | 1862 => Self::Expired,
            // ER_HOST_NOT_PRIVILEGED, ER_ACCESS_DENIED_NO_PASSWORD_ERROR, ER_NOT_SUPPORTED_AUTH_MODE
            1130 | 1698 | 1251 => Self::Rejected(format!(
                "{server} does not let the user in from here, or not with a password ({})",
                number(code)
            )),
            // ER_USER_IS_BLOCKED of MariaDB, and the same of MySQL
            4150 | 3955 => Self::Rejected(format!(
                "{server} has blocked the user after too many wrong passwords ({})",
                number(code)
            )),
            // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
            1040 | 1203 | 1226 => Self::Retry(format!("{server} has too many connections")),
            // ER_SERVER_SHUTDOWN
            1053 => Self::Retry(format!("{server} is stopping")),
            _ => Self::Retry(format!("{server} does not let in: {}", number(code))),
        }
    }

    fn of_driver(error: &DriverError, server: &Server) -> Self {
        match error {
            DriverError::NoClientSslFlagFromServer => {
                Self::Rejected(format!("{server} offers no TLS, which is needed"))
            }
            DriverError::UnknownAuthPlugin { .. }
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled => Self::OtherWay,
            DriverError::ConnectionClosed => {
                Self::Retry(format!("the connection to {server} fails"))
            }
            _ => Self::Rejected(format!(
                "{server} does not answer as a server of MySQL does"
            )),
        }
    }

    fn of_transport(error: &Error, server: &Server) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = cause {
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
            Self::Locked => Outcome::Rejected(format!(
                "user `{user}` of {server} is locked (ACCOUNT LOCK), so that no password is of use"
            )),
            Self::Expired => Outcome::Rejected(format!(
                "the password of user `{user}` of {server} has expired: an admin can set a new one, the user itself \
                 cannot"
            )),
            Self::OtherWay => Outcome::Rejected(format!(
                "{server} asks for another way to log in than a password by mysql_native_password, ed25519 or \
                 caching_sha2_password: there is no user `{user}`, or it is to log in so"
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

/// What a statement that changes `user` comes to when it fails. Where the server has a password policy, it may not say
/// more than that the statement failed.
pub(super) fn of_statement(error: &Error, server: &Server, user: &str, policy: bool) -> Outcome {
    let code = match error {
        Error::Server(error) => error.code,
        Error::Driver(DriverError::LocalInfile(_)) => {
            return Outcome::Rejected(format!("{server} asks for a file, and gets none"));
        }
        _ => return Outcome::Retry(format!("the connection to {server} was lost")),
    };
    match code {
        // ER_NOT_VALID_PASSWORD, ER_CREDENTIALS_CONTRADICT_TO_HISTORY
        1819 | 3638 => refused(server, user, code),
        // ER_CANNOT_USER
        1396 if policy => refused(server, user, code),
        // ER_CANNOT_USER, ER_PASSWORD_NO_MATCH, ER_NONEXISTING_GRANT: made or dropped in the meantime.
        1396 | 1133 | 1141 => Outcome::Retry(format!("user `{user}` of {server} has just changed")),
        // ER_OPTION_PREVENTS_STATEMENT, ER_READ_ONLY_MODE, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        1290 | 1836 | 1792 => Outcome::Retry(format!("{server} takes no changes: it is read-only")),
        // ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR and its kin, for tables, columns, routines and roles
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1410 | 1698 | 1959 => Outcome::Rejected(format!(
            "{server} does not allow to change user `{user}` as asked ({}): an admin needs CREATE USER, and SELECT on the \
                 schema mysql; for the second one of two users also what the first one has, each WITH GRANT OPTION or \
                 WITH ADMIN OPTION, and UPDATE on the schema mysql if it has a default role",
            number(code)
        )),
        1820 => Failure::Expired.required(server, user),
        // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_QUERY_INTERRUPTED, ER_STATEMENT_TIMEOUT
        1205 | 1213 | 1317 | 1969 | 3024 => {
            Outcome::Retry(format!("{server} is too slow for a change"))
        }
        // ER_WRONG_STRING_LENGTH
        1470 => Outcome::Rejected(format!(
            "the name of user `{user}` is longer than {server} takes: 32 characters in MySQL, 128 in MariaDB"
        )),
        // What does not change by itself: syntax, unknown variables, plugins and objects.
        1064 | 1146 | 1193 | 1235 | 1372 | 1524 | 1827 | 3530 | 3523 => Outcome::Rejected(format!(
            "{server} does not know how to change user `{user}` as asked: {}",
            number(code)
        )),
        _ => Outcome::Retry(format!(
            "{server} fails to change user `{user}`: {}",
            number(code)
        )),
    }
}

fn refused(server: &Server, user: &str, code: u16) -> Outcome {
    Outcome::ValueRefused(format!(
        "the password policy of {server} refuses the new password of user `{user}`: {}",
        number(code)
    ))
}

fn number(code: u16) -> String {
    format!("error {code}")
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;
    use crate::rotation::address::Addresses;

    fn server() -> Server {
        Server {
            host: "db".to_owned(),
            port: 3306,
            authority: None,
            addresses: Addresses::NotLocal,
        }
    }

    fn error(code: u16) -> Error {
        Error::Server(ServerError {
            code,
            message: "near 'pw-secret'".to_owned(),
            state: if code == 1045 { "28000" } else { "HY000" }.to_owned(),
        })
    }

    #[test]
    fn a_login_that_fails_says_whether_the_password_the_configuration_or_the_moment_is_to_blame() {
        let of = |code| Failure::of(&error(code), &server());
        assert_eq!(of(1045), Failure::Password);
        assert_eq!(of(3118), Failure::Locked);
        assert_eq!(of(4151), Failure::Locked);
        assert_eq!(of(1820), Failure::Expired);
        assert_eq!(of(1862), Failure::Expired);
        for code in [1130, 1698, 4150] {
            assert!(matches!(of(code), Failure::Rejected(_)), "{code}");
        }
        for code in [1040, 1203, 1226, 1053, 1129, 2013, 9999] {
            assert!(matches!(of(code), Failure::Retry(_)), "{code}");
        }
    }

    #[test]
    fn a_password_is_not_refused_by_whoever_speaks_before_tls() {
        let Error::Server(mut forged) = error(1045) else {
            panic!("another error");
        };
        forged.state = "HY000".to_owned();
        let failure = Failure::of(&Error::Server(forged), &server());
        assert!(matches!(failure, Failure::Retry(_)), "{failure:?}");
    }

    #[test]
    fn what_the_other_side_asks_for_beyond_a_password_is_refused() {
        for driver in [
            DriverError::NoClientSslFlagFromServer,
            DriverError::CleartextPluginDisabled,
            DriverError::MysqlOldPasswordDisabled,
            DriverError::PacketOutOfOrder,
            DriverError::UnknownAuthPlugin {
                name: "pw-secret".to_owned(),
            },
        ] {
            let failure = Failure::of(&Error::Driver(driver), &server());
            let required = failure.required(&server(), "orders");
            let Outcome::Rejected(told) = required else {
                panic!("{required:?}")
            };
            assert!(!told.contains("pw-secret"), "{told}");
        }
    }

    #[test]
    fn a_password_that_is_refused_is_a_conflict_but_not_that_of_the_admin() {
        let required = Failure::Password.required(&server(), "orders");
        assert!(matches!(required, Outcome::OwnershipConflict(_)));
        let admin = Failure::Password.of_admin(&server(), "admin");
        assert!(matches!(admin, Outcome::Rejected(_)));
        for failure in [Failure::Locked, Failure::Expired] {
            let required = failure.required(&server(), "orders");
            assert!(matches!(required, Outcome::Rejected(_)), "{required:?}");
        }
    }

    #[test]
    fn a_statement_that_fails_says_whether_the_value_the_admin_or_the_moment_is_to_blame() {
        let of = |code, policy| of_statement(&error(code), &server(), "orders", policy);
        for (code, policy) in [(1819, false), (1819, true), (3638, false), (1396, true)] {
            assert!(
                matches!(of(code, policy), Outcome::ValueRefused(_)),
                "{code}"
            );
        }
        for code in [1044, 1227, 1142, 1698, 1820, 1064, 1470] {
            assert!(matches!(of(code, true), Outcome::Rejected(_)), "{code}");
        }
        for code in [1396, 1290, 1836, 1205, 1053, 9999] {
            assert!(matches!(of(code, false), Outcome::Retry(_)), "{code}");
        }
        for code in 0..=5_000 {
            let told = format!("{:?}", of(code, true));
            assert!(!told.contains("pw-secret"), "{told}");
        }
    }

    #[test]
    fn a_server_that_asks_for_a_file_gets_none() {
        let asked = DriverError::LocalInfile(mysql_async::LocalInfileError::NoHandler);
        let outcome = of_statement(&Error::Driver(asked), &server(), "orders", false);
        assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
    }
}
