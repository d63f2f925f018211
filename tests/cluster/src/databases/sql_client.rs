//! The client of servers of MySQL's kind, and what such a server writes.

use std::{fs, net::IpAddr, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::answer;

const ROOT: &str = "root";

/// How one speaks to a server.
#[derive(Debug)]
pub(super) struct SqlClient {
    /// The program, with what comes before all options.
    pub(super) program: Vec<String>,
    /// The server's folder, with its socket and its logs.
    pub(super) folder: PathBuf,
    /// The superuser's.
    pub(super) password: String,
    /// What has it verify the server's certificate.
    pub(super) tls: Vec<String>,
}

impl SqlClient {
    /// Runs statements as the superuser.
    pub(super) async fn as_root(&self, statements: &str) -> Result<String> {
        let mut client = self.command(ROOT, &self.password)?;
        client.arg("--socket").arg(self.folder.join("socket"));
        answer(client, statements).await
    }

    /// Runs statements as a user, over the network.
    pub(super) async fn as_user(
        &self,
        (user, password): (&str, &str),
        (address, port): (IpAddr, u16),
        statements: &str,
    ) -> Result<String> {
        let mut client = self.command(user, password)?;
        client
            .args(["--protocol=TCP", "-h", &address.to_string()])
            .args(["-P", &port.to_string()])
            .args(&self.tls);
        answer(client, statements).await
    }

    /// A file of the server.
    pub(super) fn file(&self, name: &str) -> Result<String> {
        let bytes = fs::read(self.folder.join(name)).with_context(|| format!("read {name}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn command(&self, user: &str, password: &str) -> Result<Command> {
        let (program, args) = self.program.split_first().context("a command")?;
        let mut client = Command::new(program);
        client
            .args(args)
            .args(["--no-defaults", "--batch", "--raw", "--skip-column-names"])
            .args(["--default-character-set=utf8mb4", "-u", user])
            .env("MYSQL_PWD", password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(client)
    }
}

/// What one asks a server of MySQL's kind. A type with the fields `server` and `client`.
macro_rules! speaks_sql {
    ($database:ident) => {
        impl $database {
            /// All that it was asked (`general_log`), where that is set.
            pub fn general_log(&self) -> anyhow::Result<String> {
                self.client.file("general.log")
            }

            /// The statements that changed something (`log_bin` = `binlog`), where that is set, as they are on the disk.
            pub fn binary_log(&self) -> anyhow::Result<String> {
                self.client.file("data/binlog.000001")
            }

            /// Runs statements as the superuser, and returns what they give: a line for each row, with tabs between columns.
            pub async fn execute(&self, statements: &str) -> anyhow::Result<String> {
                self.client.as_root(statements).await
            }

            /// Runs statements as another user, with a password and over TLS.
            pub async fn execute_as(
                &self,
                user: &str,
                password: &str,
                statements: &str,
            ) -> anyhow::Result<String> {
                let place = (self.server.address, self.server.port);
                self.client
                    .as_user((user, password), place, statements)
                    .await
            }
        }
    };
}

pub(super) use speaks_sql;
