//! A server with an admin, and the words of the tests.

use keystead_cluster::{MariaDb, MariaDbOptions};

use crate::shop;

pub(super) use crate::changes::{KEEPER, administered, alternating, keeper, single};
pub(super) use crate::outcomes::{Kind, login, words};

/// The role that stands for it: the first digits of its SHA-256.
pub(super) const MARKER_ROLE: &str = "keystead:f5b0b79f0fdaca93da6492e293ff3fd5";

pub(super) type Bed = shop::Bed<MariaDb>;

impl Bed {
    pub(super) async fn new() -> Self {
        Self::with(MariaDbOptions::default()).await
    }

    pub(super) async fn with(options: MariaDbOptions) -> Self {
        let mariadb = MariaDb::start_with(options).await.unwrap();
        Self::on(
            mariadb,
            "VIA mysql_native_password USING PASSWORD('pw-Admin-1')",
        )
        .await
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
