//! A server with an admin, and the words of the tests.

use keystead_cluster::{MySql, MySqlOptions};

use crate::shop;

pub(super) use crate::changes::{KEEPER, MARKER, administered, alternating, keeper, single};
pub(super) use crate::outcomes::{Kind, login, words};

pub(super) type Bed = shop::Bed<MySql>;

impl Bed {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With settings of the server.
    pub(super) async fn with(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter();
        let options = MySqlOptions {
            settings: settings
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..MySqlOptions::default()
        };
        let mysql = MySql::start_with(options).await.unwrap();
        Self::on(mysql, "BY 'pw-Admin-1'").await
    }

    /// All accounts with all that is stored of them, to be compared.
    pub(super) async fn accounts(&self) -> String {
        let tables = [
            "user",
            "global_grants",
            "role_edges",
            "default_roles",
            "db",
            "tables_priv",
            "columns_priv",
            "procs_priv",
        ];
        let all = tables.map(|table| format!("SELECT * FROM mysql.{table} ORDER BY 1, 2, 3, 4;"));
        self.execute(&all.concat()).await
    }

    /// The rights of an account.
    pub(super) async fn grants(&self, user: &str) -> String {
        self.execute(&format!("SHOW GRANTS FOR `{user}`@`%`")).await
    }

    /// What a server shows of an account.
    pub(super) async fn account(&self, user: &str) -> String {
        self.execute(&format!("SHOW CREATE USER `{user}`@`%`"))
            .await
    }

    /// Whether an account has two passwords.
    pub(super) async fn has_two(&self, user: &str) -> bool {
        let second = format!(
            "SELECT COUNT(JSON_EXTRACT(User_attributes, '$.additional_password')) FROM mysql.user WHERE User = '{user}'"
        );
        self.execute(&second).await == "1"
    }
}
