//! Real databases, for tests of rotation.

mod mariadb;
mod mysql;
mod postgres;
mod redis;
mod server;
mod sql_client;

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    certificates::{Authority, Pki, Subject, write_private},
    process::run,
};

pub use mariadb::{MariaDb, MariaDbOptions};
pub use mysql::{MySql, MySqlOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use redis::{Redis, RedisOptions, RedisUsers};

/// Runs a client with statements as its input, and returns its output.
async fn answer(mut client: Command, statements: &str) -> Result<String> {
    let mut child = client.spawn().context("run the client")?;
    let mut input = child.stdin.take().context("the input of the client")?;
    // One that ended early says why itself.
    let _ = input.write_all(statements.as_bytes()).await;
    drop(input);
    let output = child
        .wait_with_output()
        .await
        .context("wait for the client")?;
    ensure!(
        output.status.success(),
        "{statements}: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    let answer = String::from_utf8_lossy(&output.stdout);
    Ok(answer.trim_end().to_owned())
}

/// Writes the certificate of a server, for names and an address, and its key.
fn certify(
    pki: &Pki,
    folder: &Path,
    name: &str,
    (names, address): (&[String], IpAddr),
) -> Result<(PathBuf, PathBuf)> {
    let hosts = [names, &[address.to_string()]].concat();
    let subject = Subject {
        name,
        groups: &[],
        hosts: &hosts,
    };
    let identity = pki.sign(Authority::Cluster, subject)?;
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    fs::write(&certificate, identity.certificate).context("write the certificate")?;
    write_private(&key, &identity.key)?;
    Ok((certificate, key))
}

/// A command that is run as a user who is not root.
fn unprivileged(program: &Path, user: &str) -> Result<Vec<String>> {
    let program = program.display().to_string();
    if !rustix::process::geteuid().is_root() {
        return Ok(vec![program]);
    }
    let (_, group) = ids(user)?;
    // Changing the user forgets that the process is to die with its parent, so it is said again.
    let command = [
        "setpriv",
        "--reuid",
        user,
        "--regid",
        &group.to_string(),
        "--init-groups",
        "--pdeathsig",
        "KILL",
        "--",
        &program,
    ];
    Ok(command.map(ToOwned::to_owned).into())
}

/// Gives a file or folder to the user who runs the server.
fn give_away(path: &Path, user: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = ids(user)?;
    chown(path, Some(user), Some(group)).with_context(|| format!("give {} away", path.display()))
}

/// The numbers of a user and its group.
fn ids(user: &str) -> Result<(u32, u32)> {
    let id = |flag| -> Result<u32> {
        let id = run("id", &[flag, user])?;
        id.trim().parse().context("a number of a user")
    };
    Ok((id("-u")?, id("-g")?))
}

fn random_password() -> Result<String> {
    let bytes = fs::read("/proc/sys/kernel/random/uuid").context("read random bytes")?;
    Ok(String::from_utf8_lossy(&bytes).trim().replace('-', ""))
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str();
    let text = text.with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}
