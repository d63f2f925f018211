//! A server with an admin, and the words of the tests.

use std::net::SocketAddr;

use keystead::rotation::postgres::{Addresses, Server, Tls};
use keystead::rotation::rotator::Login;
use keystead_cluster::{Postgres, PostgresOptions};

pub(super) use crate::changes::{
    KEEPER, MARKER, administered, after_a_restore, alternating, keeper, single,
};
pub(super) use crate::outcomes::{Kind, login, words};

/// A server, and the admin on it.
pub(super) struct Bed {
    pub(super) postgres: Postgres,
}

impl Bed {
    pub(super) async fn new() -> Self {
        Self::with(PostgresOptions::default()).await
    }

    pub(super) async fn with(options: PostgresOptions) -> Self {
        let postgres = Postgres::start_with(options).await.unwrap();
        let bed = Self { postgres };
        bed.execute("CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'pw-Admin-1'")
            .await;
        bed
    }

    pub(super) async fn execute(&self, statements: &str) -> String {
        self.postgres.execute(statements).await.unwrap()
    }

    /// Runs statements as a user, by the server's own client over TLS.
    pub(super) async fn as_user(&self, user: Login<'_>, statements: &str) -> String {
        let password = std::str::from_utf8(user.password).unwrap();
        let ran = self.postgres.execute_as(user.user, password, statements);
        ran.await.unwrap()
    }

    /// Makes a role that logs in with `pw-1`.
    pub(super) async fn role(&self, quoted: &str) {
        self.execute(&format!("CREATE ROLE {quoted} LOGIN PASSWORD 'pw-1'"))
            .await;
    }

    /// The server, with TLS.
    pub(super) fn server(&self) -> Server {
        Server {
            host: self.postgres.address().to_string(),
            port: self.postgres.port(),
            database: "postgres".to_owned(),
            tls: Tls::Verify {
                authority: Some(self.postgres.ca_pem().to_owned()),
            },
            addresses: Addresses::Any,
        }
    }

    /// The server, without TLS.
    pub(super) fn plain(&self) -> Server {
        Server {
            tls: Tls::Disable,
            ..self.server()
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        (self.postgres.address(), self.postgres.port()).into()
    }

    /// All roles with all that is stored of them, to be compared.
    pub(super) async fn roles(&self) -> String {
        self.execute(
            "SELECT a.*, shobj_description(a.oid, 'pg_authid') FROM pg_authid a ORDER BY oid; \
             SELECT * FROM pg_auth_members ORDER BY 1, 2; SELECT * FROM pg_db_role_setting ORDER BY 1, 2",
        )
        .await
    }
}
