//! One connection: made, used and closed within time limits.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, OptsBuilder, Row, SslOpts, Value};
use tokio::time::timeout;

use super::failure::{Failure, of_statement};
use super::server::Server;
use super::syntax;
use super::verifier::Rounds;
use crate::rotation::address::{Nowhere, resolve};
use crate::rotation::rotator::{Login, Outcome};

/// Longest time for a connection: the name, the network, TLS and the login together.
const CONNECTING: Duration = Duration::from_secs(10);
/// Seconds for which the server lets a statement wait for another one's lock.
const LOCK_WAIT: u32 = 10;
/// How long an answer may take: a little longer, so that the server can say that it was too slow.
const ANSWER: Duration = Duration::from_secs(12);
/// How long the server may take for the farewell.
const CLOSING: Duration = Duration::from_secs(1);
/// Most bytes of one message of the server.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Most rows of an answer, and most bytes of all of them.
const MAX_ROWS: usize = 10_000;
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// How long the server keeps the connection, in seconds. Nobody waits for that.
const IDLE: usize = 60;
/// The first servers that can lock accounts, which making one needs.
const OLDEST_MARIADB: (u16, u16, u16) = (10, 4, 2);
const OLDEST_MYSQL: (u16, u16, u16) = (5, 7, 6);

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    MySql,
    MariaDb,
}

/// A connection of a user who is logged in.
pub(super) struct Session<'a> {
    connection: Conn,
    server: &'a Server,
    /// The user of the account that the login matches.
    user: String,
    /// Its host.
    host: String,
    family: Family,
    version: (u16, u16, u16),
    /// How costly the server wants verifiers to be.
    rounds: Rounds,
    /// Whether there is a password policy, which may refuse values.
    policy: bool,
    /// Whether it wants to see the passwords.
    strict: bool,
}

impl<'a> Session<'a> {
    /// Connects, logs in, and asks who it is: a login that ends as somebody else, such as the anonymous user, proves
    /// nothing about a password.
    pub(super) async fn open(server: &'a Server, login: Login<'_>) -> Result<Self, Failure> {
        // On the heap: a handshake needs much room, and only for a moment.
        let connecting = timeout(CONNECTING, Box::pin(connect(server, login))).await;
        let connection = connecting.unwrap_or_else(|_| {
            Err(Failure::Retry(format!(
                "{server} lets nobody in within {} s",
                CONNECTING.as_secs()
            )))
        })?;
        let mut session = Self {
            connection,
            server,
            user: String::new(),
            host: String::new(),
            family: Family::MySql,
            version: (0, 0, 0),
            rounds: Rounds::LEAST,
            policy: false,
            strict: false,
        };
        let asked = session.ask("SELECT CURRENT_USER(), VERSION()").await;
        let asked = asked.map_err(|error| match error {
            Some(error) => Failure::of(&error, server),
            None => Failure::Retry(format!("{server} is too slow")),
        })?;
        let Some([account, version]) = asked.first().map(Vec::as_slice) else {
            return Err(Failure::Retry(format!("{server} gives no answer")));
        };
        let (user, host) = account.rsplit_once('@').unwrap_or((account, ""));
        if user != login.user {
            return Err(Failure::Rejected(format!(
                "{server} lets user `{}` in as another account, the anonymous one or one that stands for others, which \
                 proves nothing about its password",
                login.user
            )));
        }
        user.clone_into(&mut session.user);
        host.clone_into(&mut session.host);
        (session.family, session.version) = numbered(version);
        Ok(session)
    }

    /// As [`Session::open`], for a login that is expected to work: a refusal is believed when it comes twice.
    ///
    /// A server sends random bytes, which the client signs for `ed25519`. `mysql_common` 0.37 takes a zero at their end
    /// for the terminator that only other ways of login have, and signs one byte less: then the right password is
    /// refused, at one login in 256. 0.38 does not, but no `mysql_async` uses that yet.
    pub(super) async fn open_surely(server: &'a Server, login: Login<'_>) -> Result<Self, Failure> {
        match Self::open(server, login).await {
            Err(Failure::Password) => Self::open(server, login).await,
            opened => opened,
        }
    }

    /// Prepares a change of `user`: sets how statements are read, and asks what the server allows.
    pub(super) async fn begin(&mut self, user: &str) -> Result<(), Outcome> {
        let oldest = match self.family {
            Family::MySql => OLDEST_MYSQL,
            Family::MariaDb => OLDEST_MARIADB,
        };
        if self.version < oldest {
            return Err(Outcome::Rejected(format!(
                "{} is older than MySQL 5.7.6 or MariaDB 10.4.2, which are the first ones that can lock accounts",
                self.server
            )));
        }
        // A server may have settings that read statements otherwise than they are written here.
        let set = format!(
            "SET NAMES utf8mb4, SESSION sql_mode = {}, SESSION lock_wait_timeout = {LOCK_WAIT}",
            syntax::text(syntax::MODE)
        );
        self.run(user, &set).await?;
        if self.family == Family::MySql && self.version >= (8, 0, 17) {
            self.run(user, "SET SESSION print_identified_with_as_hex = 1")
                .await?;
        }
        if self.family == Family::MySql && self.version >= (8, 0, 24) {
            let setting = "SELECT @@GLOBAL.caching_sha2_password_digest_rounds";
            let setting = self.one(user, setting).await?;
            self.rounds = Rounds::of_setting(&setting).unwrap_or(Rounds::LEAST);
        }
        // Whoever has all rights may write to a replica, which nobody else would see.
        if self.one(user, "SELECT @@GLOBAL.read_only").await? != "0" {
            return Err(Outcome::Retry(format!(
                "{} takes no changes: it is read-only, or a replica",
                self.server
            )));
        }
        if self.family == Family::MariaDb {
            let policies = "SELECT COUNT(*) FROM information_schema.PLUGINS \
                            WHERE PLUGIN_TYPE = 'PASSWORD VALIDATION' AND PLUGIN_STATUS = 'ACTIVE'";
            self.policy = self.one(user, policies).await? != "0";
            let strict = "SELECT @@GLOBAL.strict_password_validation";
            self.strict = self.policy && self.one(user, strict).await? != "0";
        }
        Ok(())
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn version(&self) -> (u16, u16, u16) {
        self.version
    }

    /// How many rounds the verifiers that the server makes have.
    pub(super) fn rounds(&self) -> Rounds {
        self.rounds
    }

    /// Whether the server has a policy that refuses every verifier, because it cannot see the password in it.
    pub(super) fn wants_passwords(&self) -> bool {
        self.strict
    }

    /// Whether it is the user who is logged in, at whatever host.
    pub(super) fn is_own(&self, user: &str) -> bool {
        self.user == user
    }

    /// The host of the account that is logged in.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Runs a statement that changes `user` and has no answer.
    pub(super) async fn run(&mut self, user: &str, statement: &str) -> Result<(), Outcome> {
        self.rows(user, statement).await.map(drop)
    }

    /// Runs a statement, and returns the columns of each row as texts.
    pub(super) async fn rows(
        &mut self,
        user: &str,
        statement: &str,
    ) -> Result<Vec<Vec<String>>, Outcome> {
        let answer = self.ask(statement).await;
        answer.map_err(|error| match error {
            Some(error) => of_statement(&error, self.server, user, self.policy),
            None => Outcome::Retry(format!(
                "{} gives no answer that can be used within {} s",
                self.server,
                ANSWER.as_secs()
            )),
        })
    }

    /// Runs a query, and returns the first column of its first row.
    pub(super) async fn one(&mut self, user: &str, query: &str) -> Result<String, Outcome> {
        let rows = self.rows(user, query).await?;
        let first = rows.into_iter().flatten().next();
        first.ok_or_else(|| Outcome::Retry(format!("{} gives an answer without rows", self.server)))
    }

    async fn ask(&mut self, statement: &str) -> Result<Vec<Vec<String>>, Option<Error>> {
        let asking = ask(&mut self.connection, statement);
        timeout(ANSWER, asking).await.unwrap_or(Err(None))
    }

    /// Says farewell.
    pub(super) async fn close(self) {
        // Whether it is heard does not matter.
        let _ = timeout(CLOSING, self.connection.disconnect()).await;
    }
}

async fn ask(connection: &mut Conn, statement: &str) -> Result<Vec<Vec<String>>, Option<Error>> {
    let mut answer = connection.query_iter(statement).await.map_err(Some)?;
    let mut rows = Vec::new();
    let mut size = 0;
    while let Some(row) = answer.next().await.map_err(Some)? {
        let row = texts(row);
        size += row.iter().map(String::len).sum::<usize>();
        rows.push(row);
        if rows.len() > MAX_ROWS || size > MAX_ANSWER {
            return Err(None);
        }
    }
    answer.drop_result().await.map_err(Some)?;
    Ok(rows)
}

fn texts(row: Row) -> Vec<String> {
    let text = |value| match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        _ => String::new(),
    };
    row.unwrap().into_iter().map(text).collect()
}

/// Whose server it is, and its version. MariaDB may begin with a version of MySQL, for old replicas.
fn numbered(version: &str) -> (Family, (u16, u16, u16)) {
    let (family, version) = if version.to_ascii_lowercase().contains("mariadb") {
        let version = version.strip_prefix("5.5.5-").unwrap_or(version);
        (Family::MariaDb, version)
    } else {
        (Family::MySql, version)
    };
    let end = version.find(|character: char| !character.is_ascii_digit() && character != '.');
    let numbers = &version[..end.unwrap_or(version.len())];
    let mut numbers = numbers.split('.').map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (family, (next(), next(), next()))
}

/// Connects to an address of the host that is allowed: of the very answer that was looked at, so that a name that
/// changes in between leads nowhere else.
async fn connect(server: &Server, login: Login<'_>) -> Result<Conn, Failure> {
    server.usable().map_err(Failure::Rejected)?;
    let found = resolve(&server.host, server.port, server.addresses).await;
    let found = found.map_err(|nowhere| match nowhere {
        Nowhere::Unknown => Failure::Retry(nowhere.words(server)),
        Nowhere::Local => Failure::Rejected(nowhere.words(server)),
    })?;
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
    let patience = CONNECTING / count;
    for address in found {
        let options = options(server, address.ip(), login)?;
        match timeout(patience, Conn::new(options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            // Nobody listens there, and another address may be better.
            Ok(Err(Error::Io(mysql_async::IoError::Io(error))))
                if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Ok(Err(error)) => return Err(Failure::of(&error, server)),
            Err(_) => {}
        }
    }
    Err(Failure::Retry(Nowhere::Unknown.words(server)))
}

fn options(server: &Server, address: IpAddr, login: Login<'_>) -> Result<OptsBuilder, Failure> {
    let password = std::str::from_utf8(login.password);
    let password = password.map_err(|_| {
        Failure::Rejected(format!(
            "the password of user `{}` must be a text",
            login.user
        ))
    })?;
    let authority = server.authority.clone().unwrap_or_default();
    // A server that does not offer TLS is not logged in to, nor one whose certificate is not for the host.
    let tls = SslOpts::default()
        .with_root_certs(vec![authority.into_bytes().into()])
        .with_disable_built_in_roots(true)
        .with_danger_tls_hostname_override(Some(Cow::Owned(server.host.clone())));
    Ok(OptsBuilder::default()
        .ip_or_hostname(server.host.clone())
        .resolved_ips(Some(vec![address]))
        .tcp_port(server.port)
        .user(Some(login.user))
        .pass(Some(password))
        .ssl_opts(Some(tls))
        // Neither a socket of this machine that the server may name, nor a question for limits.
        .prefer_socket(Some(false))
        .max_allowed_packet(Some(MAX_MESSAGE))
        .wait_timeout(Some(IDLE))
        .stmt_cache_size(Some(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_whose_server_it_is() {
        for (text, family, version) in [
            ("8.0.36", Family::MySql, (8, 0, 36)),
            ("8.4.3-commercial", Family::MySql, (8, 4, 3)),
            ("9.1", Family::MySql, (9, 1, 0)),
            (
                "10.11.19-MariaDB-0+deb12u1-log",
                Family::MariaDb,
                (10, 11, 19),
            ),
            ("5.5.5-10.4.2-MariaDB", Family::MariaDb, (10, 4, 2)),
            ("", Family::MySql, (0, 0, 0)),
            ("x", Family::MySql, (0, 0, 0)),
        ] {
            assert_eq!(numbered(text), (family, version), "{text}");
        }
    }
}
