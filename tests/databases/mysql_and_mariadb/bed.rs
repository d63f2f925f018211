//! A server of either family, with the schema `shop` and an admin on it.

use std::net::{IpAddr, SocketAddr};

use keystead::rotation::mysql::{Addresses, Server};
use keystead::rotation::rotator::Login;
use keystead_cluster::{MariaDb, MariaDbOptions, MySql, MySqlOptions};

/// A server of either family.
pub(super) trait Database: Sized {
    /// How the admin logs in.
    const ADMIN: &str;
    /// What shows all accounts with all that is stored of them.
    const ACCOUNTS: &str;
    /// What gives user `orders` the marker of the tests, or another.
    const MARKED: &str;
    const MARKED_BY_ANOTHER: &str;

    /// Starts one with settings.
    async fn start(settings: Vec<(String, String)>) -> Self;

    /// Ends it as a loss of power does.
    fn kill(&mut self);

    /// Starts it after that.
    async fn start_again(&mut self);

    /// Stops it in order, and starts it.
    async fn restart(&mut self);

    /// Runs statements as the superuser.
    async fn execute(&self, statements: &str) -> Result<String, String>;

    /// Runs statements as a user, by the server's own client over TLS.
    async fn execute_as(&self, user: &str, password: &str, what: &str) -> Result<String, String>;

    /// Where it listens, and the certificate of its authority.
    fn place(&self) -> (IpAddr, u16, &str);
}

macro_rules! database {
    (
        $server:ident, $options:ident, admin: $admin:literal, accounts: $accounts:literal,
        marked: $marked:literal, by_another: $by_another:literal
    ) => {
        impl Database for $server {
            const ADMIN: &str = $admin;
            const ACCOUNTS: &str = $accounts;
            const MARKED: &str = $marked;
            const MARKED_BY_ANOTHER: &str = $by_another;

            async fn start(settings: Vec<(String, String)>) -> Self {
                let options = $options {
                    settings,
                    ..$options::default()
                };
                $server::start_with(options).await.unwrap()
            }

            fn kill(&mut self) {
                $server::kill(self).unwrap();
            }

            async fn start_again(&mut self) {
                $server::start_again(self).await.unwrap();
            }

            async fn restart(&mut self) {
                $server::restart(self).await.unwrap();
            }

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

database!(
    MariaDb, MariaDbOptions,
    admin: "VIA mysql_native_password USING PASSWORD('pw-Admin-1')",
    accounts: "SELECT * FROM mysql.global_priv ORDER BY 1, 2; SELECT * FROM mysql.roles_mapping ORDER BY 1, 2, 3; \
        SELECT * FROM mysql.db ORDER BY 1, 2, 3; SELECT * FROM mysql.tables_priv ORDER BY 1, 2, 3, 4; \
        SELECT * FROM mysql.columns_priv ORDER BY 1, 2, 3, 4, 5; SELECT * FROM mysql.procs_priv ORDER BY 1, 2, 3, 4",
    marked: "CREATE ROLE `keystead:f5b0b79f0fdaca93da6492e293ff3fd5`; \
        GRANT `keystead:f5b0b79f0fdaca93da6492e293ff3fd5` TO orders@'%'",
    by_another: "CREATE ROLE `keystead:00000000000000000000000000000000`; \
        GRANT `keystead:00000000000000000000000000000000` TO orders@'%'"
);
database!(
    MySql, MySqlOptions,
    admin: "BY 'pw-Admin-1'",
    accounts: "SELECT * FROM mysql.user ORDER BY 1, 2; SELECT * FROM mysql.global_grants ORDER BY 1, 2, 3; \
        SELECT * FROM mysql.role_edges ORDER BY 1, 2, 3, 4; SELECT * FROM mysql.default_roles ORDER BY 1, 2, 3, 4; \
        SELECT * FROM mysql.db ORDER BY 1, 2, 3; SELECT * FROM mysql.tables_priv ORDER BY 1, 2, 3, 4; \
        SELECT * FROM mysql.columns_priv ORDER BY 1, 2, 3, 4, 5; SELECT * FROM mysql.procs_priv ORDER BY 1, 2, 3, 4",
    marked: "ALTER USER orders@'%' ATTRIBUTE '{\"keystead\": \"keystead: shop/orders-db\"}'",
    by_another: "ALTER USER orders@'%' ATTRIBUTE '{\"keystead\": \"keystead: shop/another\", \"team\": \"a\"}'"
);

/// Settings of a server, each a name and a value.
pub(super) fn settings(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    all.iter().map(owned).collect()
}

/// A server, with the schema `shop`, and the admin on it.
pub(super) struct Bed<D> {
    pub(super) database: D,
}

impl<D: Database> Bed<D> {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With settings of the server.
    pub(super) async fn with(all: &[(&str, &str)]) -> Self {
        Self::on(D::start(settings(all)).await).await
    }

    /// On a server that runs.
    pub(super) async fn on(database: D) -> Self {
        let bed = Self { database };
        bed.execute(&format!(
            "CREATE DATABASE shop; CREATE TABLE shop.stock (n int); CREATE USER keeper@'%' IDENTIFIED {}; \
             GRANT CREATE USER ON *.* TO keeper@'%'; GRANT SELECT ON mysql.* TO keeper@'%'; \
             GRANT ALL ON shop.* TO keeper@'%' WITH GRANT OPTION",
            D::ADMIN
        ))
        .await;
        bed
    }

    pub(super) async fn execute(&self, statements: &str) -> String {
        self.database.execute(statements).await.unwrap()
    }

    /// Runs statements as a user.
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
        self.database
            .execute_as(user.user, password, statements)
            .await
    }

    /// Makes a user that logs in with `pw-1` from everywhere. The name is as it is within backquotes.
    pub(super) async fn user(&self, quoted: &str) {
        self.execute(&format!("CREATE USER `{quoted}`@`%` IDENTIFIED BY 'pw-1'"))
            .await;
    }

    /// The server, with TLS.
    pub(super) fn server(&self) -> Server {
        let (address, port, authority) = self.database.place();
        Server {
            host: address.to_string(),
            port,
            authority: Some(authority.to_owned()),
            addresses: Addresses::Any,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        let (address, port, _) = self.database.place();
        (address, port).into()
    }

    /// All accounts with all that is stored of them, to be compared.
    pub(super) async fn accounts(&self) -> String {
        self.execute(D::ACCOUNTS).await
    }

    /// The rights of an account, without the line that every account has.
    pub(super) async fn grants(&self, user: &str) -> String {
        let grants = self.execute(&format!("SHOW GRANTS FOR `{user}`@`%`")).await;
        let every =
            |line: &&str| line.contains("IDENTIFIED") || line.starts_with("GRANT USAGE ON *.*");
        let lines = grants.lines().filter(|line| !every(line));
        lines.collect::<Vec<_>>().join("\n")
    }
}
