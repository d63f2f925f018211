//! A server with an admin, and the words of the tests.

use std::net::SocketAddr;

use keystead::rotation::mysql::{Addresses, Server};
use keystead::rotation::rotator::Login;
use keystead_cluster::{MariaDb, MariaDbOptions};

pub(super) use crate::changes::{KEEPER, administered, alternating, keeper, single};
pub(super) use crate::outcomes::{Kind, login, words};

/// The role that stands for it: the first digits of its SHA-256.
pub(super) const MARKER_ROLE: &str = "keystead:f5b0b79f0fdaca93da6492e293ff3fd5";

/// A server, with the schema `shop`, and the admin on it.
pub(super) struct Bed {
    pub(super) mariadb: MariaDb,
}

impl Bed {
    pub(super) async fn new() -> Self {
        Self::with(MariaDbOptions::default()).await
    }

    pub(super) async fn with(options: MariaDbOptions) -> Self {
        let mariadb = MariaDb::start_with(options).await.unwrap();
        let bed = Self { mariadb };
        bed.execute(
            "CREATE DATABASE shop; CREATE TABLE shop.stock (n int); \
             CREATE USER keeper@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('pw-Admin-1'); \
             GRANT CREATE USER ON *.* TO keeper@'%'; GRANT SELECT ON mysql.* TO keeper@'%'; \
             GRANT ALL ON shop.* TO keeper@'%' WITH GRANT OPTION",
        )
        .await;
        bed
    }

    pub(super) async fn execute(&self, statements: &str) -> String {
        self.mariadb.execute(statements).await.unwrap()
    }

    /// Runs statements as a user, by the server's own client over TLS.
    pub(super) async fn as_user(&self, user: Login<'_>, statements: &str) -> String {
        self.try_as_user(user, statements).await.unwrap()
    }

    /// Runs statements as a user, which may fail.
    pub(super) async fn try_as_user(
        &self,
        user: Login<'_>,
        statements: &str,
    ) -> Result<String, String> {
        let password = std::str::from_utf8(user.password).unwrap();
        let ran = self.mariadb.execute_as(user.user, password, statements);
        ran.await.map_err(|error| format!("{error:#}"))
    }

    /// Makes a user that logs in with `pw-1` from everywhere. The name is as it is within backquotes.
    pub(super) async fn user(&self, quoted: &str) {
        self.execute(&format!("CREATE USER `{quoted}`@`%` IDENTIFIED BY 'pw-1'"))
            .await;
    }

    /// The server, with TLS.
    pub(super) fn server(&self) -> Server {
        Server {
            host: self.mariadb.address().to_string(),
            port: self.mariadb.port(),
            authority: Some(self.mariadb.ca_pem().to_owned()),
            addresses: Addresses::Any,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        (self.mariadb.address(), self.mariadb.port()).into()
    }

    /// All accounts with all that is stored of them, to be compared.
    pub(super) async fn accounts(&self) -> String {
        self.execute(
            "SELECT * FROM mysql.global_priv ORDER BY 1, 2; SELECT * FROM mysql.roles_mapping ORDER BY 1, 2, 3; \
             SELECT * FROM mysql.db ORDER BY 1, 2, 3; SELECT * FROM mysql.tables_priv ORDER BY 1, 2, 3, 4; \
             SELECT * FROM mysql.columns_priv ORDER BY 1, 2, 3, 4, 5; SELECT * FROM mysql.procs_priv ORDER BY 1, 2, 3, 4",
        )
        .await
    }

    /// The rights of an account, without the line that has the verifier.
    pub(super) async fn grants(&self, user: &str) -> String {
        let grants = self.execute(&format!("SHOW GRANTS FOR `{user}`@`%`")).await;
        let lines = grants.lines().filter(|line| !line.contains("IDENTIFIED"));
        lines.collect::<Vec<_>>().join("\n")
    }
}
