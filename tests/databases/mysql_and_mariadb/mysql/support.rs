//! The words of the tests.

use keystead_cluster::MySql;

use crate::mysql_and_mariadb::bed;

pub(super) use crate::changes::{MARKER, administered, alternating, single};
pub(super) use crate::outcomes::{Kind, login, words};

pub(super) type Bed = bed::Bed<MySql>;

impl Bed {
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
