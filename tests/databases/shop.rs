//! A server of MySQL's kind, with the schema `shop` and an admin on it.

use std::net::{IpAddr, SocketAddr};

use keystead::rotation::mysql::{Addresses, Server};
use keystead::rotation::rotator::Login;
use keystead_cluster::{MariaDb, MySql};

/// A server of either family.
pub(crate) trait Database {
    /// Runs statements as the superuser.
    async fn execute(&self, statements: &str) -> Result<String, String>;

    /// Runs statements as a user, by the server's own client over TLS.
    async fn execute_as(&self, user: &str, password: &str, what: &str) -> Result<String, String>;

    /// Where it listens, and the certificate of its authority.
    fn place(&self) -> (IpAddr, u16, &str);
}

macro_rules! database {
    ($server:ident) => {
        impl Database for $server {
            async fn execute(&self, statements: &str) -> Result<String, String> {
                let ran = $server::execute(self, statements).await;
                ran.map_err(|error| format!("{error:#}"))
            }

            async fn execute_as(
                &self,
                user: &str,
                password: &str,
                what: &str,
            ) -> Result<String, String> {
                let ran = $server::execute_as(self, user, password, what).await;
                ran.map_err(|error| format!("{error:#}"))
            }

            fn place(&self) -> (IpAddr, u16, &str) {
                (self.address(), self.port(), self.ca_pem())
            }
        }
    };
}

database!(MariaDb);
database!(MySql);

/// A server, with the schema `shop`, and the admin on it.
pub(crate) struct Bed<D> {
    pub(crate) database: D,
}

impl<D: Database> Bed<D> {
    /// On a server; `admin` is how the admin logs in.
    pub(crate) async fn on(database: D, admin: &str) -> Self {
        let bed = Self { database };
        bed.execute(&format!(
            "CREATE DATABASE shop; CREATE TABLE shop.stock (n int); CREATE USER keeper@'%' IDENTIFIED {admin}; \
             GRANT CREATE USER ON *.* TO keeper@'%'; GRANT SELECT ON mysql.* TO keeper@'%'; \
             GRANT ALL ON shop.* TO keeper@'%' WITH GRANT OPTION"
        ))
        .await;
        bed
    }

    pub(crate) async fn execute(&self, statements: &str) -> String {
        self.database.execute(statements).await.unwrap()
    }

    /// Runs statements as a user.
    pub(crate) async fn as_user(&self, user: Login<'_>, statements: &str) -> String {
        self.try_as_user(user, statements).await.unwrap()
    }

    /// Runs statements as a user, which may fail.
    pub(crate) async fn try_as_user(
        &self,
        user: Login<'_>,
        statements: &str,
    ) -> Result<String, String> {
        let password = std::str::from_utf8(user.password).unwrap();
        self.database
            .execute_as(user.user, password, statements)
            .await
    }

    /// Makes a user that logs in with `pw-1` from everywhere. The name is as it is within backquotes.
    pub(crate) async fn user(&self, quoted: &str) {
        self.execute(&format!("CREATE USER `{quoted}`@`%` IDENTIFIED BY 'pw-1'"))
            .await;
    }

    /// The server, with TLS.
    pub(crate) fn server(&self) -> Server {
        let (address, port, authority) = self.database.place();
        Server {
            host: address.to_string(),
            port,
            authority: Some(authority.to_owned()),
            addresses: Addresses::Any,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (address, port, _) = self.database.place();
        (address, port).into()
    }
}
