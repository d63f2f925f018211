//! One connection: made, used and closed within time limits.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row};

use super::failure::{Failure, of_statement};
use super::server::{Server, Tls};
use super::tls::Connector;
use super::watched::{Secrecy, Watched};
use crate::rotation::address::{self, Nowhere};
use crate::rotation::rotator::{Login, Outcome};

/// Longest time for a connection: the name, the network, TLS and the login together.
const CONNECTING: Duration = Duration::from_secs(10);
/// Longest time of a statement at the server.
const STATEMENT: Duration = Duration::from_secs(10);
/// How long its answer may take here: a little longer, so that the server can say that it was too slow.
const ANSWER: Duration = Duration::from_secs(12);
/// How long the server may take for the farewell.
const CLOSING: Duration = Duration::from_secs(1);
/// The first server that knows SCRAM. An older one would take the verifier for the password.
const OLDEST: i32 = 100_000;
/// How the server shows us in its lists.
const APPLICATION: &str = "keystead";

/// A connection of a user who is logged in.
pub(super) struct Session<'a> {
    client: Client,
    driver: Driver,
    server: &'a Server,
}

/// The task that moves the bytes of a connection; it ends with this at the latest.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<'a> Session<'a> {
    /// Connects and logs in.
    pub(super) async fn open(server: &'a Server, login: Login<'_>) -> Result<Self, Failure> {
        // On the heap: a handshake needs much room, and only for a moment.
        let opening = Box::pin(open(server, login));
        let opened = timeout(CONNECTING, opening).await;
        let (client, driver) = opened.unwrap_or_else(|_| {
            Err(Failure::Retry(format!(
                "{server} lets nobody in within {} s",
                CONNECTING.as_secs()
            )))
        })?;
        Ok(Self {
            client,
            driver,
            server,
        })
    }

    /// Asks for a row of ones, which shows that the login is good for more than the login.
    pub(super) async fn ping(&self) -> Result<(), Failure> {
        let server = self.server;
        match timeout(ANSWER, self.client.batch_execute("SELECT 1")).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::of(&error, server)),
            Err(_) => Err(Failure::Retry(format!("{server} is too slow"))),
        }
    }

    /// Begins the transaction in which `role` is changed.
    pub(super) async fn begin(&self, role: &str) -> Result<(), Outcome> {
        let facts = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
                     pg_catalog.pg_is_in_recovery()";
        let facts = self.one(role, facts, &[]).await?;
        let (version, recovering): (i32, bool) = (facts.get(0), facts.get(1));
        let server = self.server;
        if version < OLDEST {
            return Err(Outcome::Rejected(format!(
                "{server} is older than PostgreSQL 10, which is the first one with SCRAM"
            )));
        }
        if recovering {
            return Err(Outcome::Retry(format!(
                "{server} is in recovery, or a standby, which takes no changes"
            )));
        }
        let limit = STATEMENT.as_millis();
        // A role or a database may have settings that make sessions read-only, that find functions of others before the
        // server's own, or that answer before a change is on the disk. `SET` calls no function.
        let begin = format!(
            "BEGIN READ WRITE; \
             SET LOCAL search_path = pg_catalog; \
             SET LOCAL statement_timeout = {limit}; \
             SET LOCAL lock_timeout = {limit}; \
             SET LOCAL idle_in_transaction_session_timeout = {limit}; \
             SET LOCAL synchronous_commit = on"
        );
        self.run(role, &begin).await
    }

    /// Runs statements that have no value in them: the client logs them when it is asked to tell everything.
    pub(super) async fn run(&self, role: &str, statements: &str) -> Result<(), Outcome> {
        let running = self.client.batch_execute(statements);
        self.answer(role, running).await
    }

    /// Runs a query. Values are parameters, which the client does not log.
    pub(super) async fn rows(
        &self,
        role: &str,
        query: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Outcome> {
        let asking = self.client.query_typed(query, parameters);
        self.answer(role, asking).await
    }

    /// Runs a query that has one row.
    pub(super) async fn one(
        &self,
        role: &str,
        query: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Row, Outcome> {
        let rows = self.rows(role, query, parameters).await?;
        let none = || Outcome::Retry(format!("{} gives an answer without rows", self.server));
        rows.into_iter().next().ok_or_else(none)
    }

    async fn answer<T>(
        &self,
        role: &str,
        asking: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Outcome> {
        match timeout(ANSWER, asking).await {
            Ok(answer) => answer.map_err(|error| of_statement(&error, self.server, role)),
            Err(_) => Err(Outcome::Retry(format!(
                "{} gives no answer within {} s",
                self.server,
                ANSWER.as_secs()
            ))),
        }
    }

    /// Says farewell. A transaction that was not committed is rolled back.
    pub(super) async fn close(self) {
        let Self {
            client, mut driver, ..
        } = self;
        drop(client);
        // Whether it is heard does not matter: the connection is dropped with the driver.
        let _ = timeout(CLOSING, &mut driver.0).await;
    }
}

async fn open(server: &Server, login: Login<'_>) -> Result<(Client, Driver), Failure> {
    let mut config = Config::new();
    config
        .user(login.user)
        .password(login.password)
        .dbname(&server.database)
        .application_name(APPLICATION);
    let failed = |error: Error| Failure::of(&error, server);
    match &server.tls {
        Tls::Verify { .. } => {
            let tls = Connector {
                config: server.client_config().map_err(Failure::Rejected)?,
                name: server.name().map_err(Failure::Rejected)?,
            };
            // The connector asks for TLS itself.
            config
                .ssl_mode(SslMode::Require)
                .ssl_negotiation(SslNegotiation::Direct);
            let stream = connect(server).await?;
            let (client, connection) = config.connect_raw(stream, tls).await.map_err(failed)?;
            Ok((client, drive(connection)))
        }
        Tls::Disable => {
            config.ssl_mode(SslMode::Disable);
            let stream = Watched::new(connect(server).await?, Secrecy::Plain);
            let connected = config.connect_raw(stream, NoTls).await;
            let (client, connection) = connected.map_err(failed)?;
            Ok((client, drive(connection)))
        }
    }
}

fn drive(connection: impl Future<Output = Result<(), Error>> + Send + 'static) -> Driver {
    // Its error is that of the statement that waits for an answer.
    Driver(tokio::spawn(async { drop(connection.await) }))
}

async fn connect(server: &Server) -> Result<TcpStream, Failure> {
    let found = address::connect(&server.host, server.port, server.addresses, CONNECTING).await;
    found.map_err(|nowhere| match nowhere {
        Nowhere::Unknown => Failure::Retry(nowhere.words(server)),
        Nowhere::Local => Failure::Rejected(nowhere.words(server)),
    })
}
