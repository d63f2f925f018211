//! A real MariaDB: Debian's, in a temporary folder, with TLS by an authority of its own.
//!
//! The server refuses to run as root, so that root runs it as a user who owns nothing.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{
    certify, give_away, random_password,
    server::{Server, runs},
    sql_client::{SqlClient, speaks_sql},
    text, unprivileged,
};
use crate::{
    certificates::{Authority, Pki, write_private},
    packages::{self, MariaDbPrograms},
    ports::Lease,
    process::{Spec, run},
    state,
};

/// The name of the server's program, and of the user who runs it.
const NAME: &str = "mariadb";
const USER: &str = "nobody";
/// Small, as tests run many of them.
const SMALL: [&str; 6] = [
    "--innodb-buffer-pool-size=8M",
    "--innodb-log-file-size=4M",
    "--innodb-log-buffer-size=1M",
    "--key-buffer-size=256K",
    "--aria-pagecache-buffer-size=1M",
    "--performance-schema=OFF",
];

/// How a server differs from the usual one.
#[derive(Debug, Clone)]
pub struct MariaDbOptions {
    /// Where it listens. The certificate is for this address.
    pub address: IpAddr,
    /// What the certificate is for besides.
    pub names: Vec<String>,
    /// Whether it has TLS.
    pub tls: bool,
    /// Plug-ins to load, by the names of their files: `simple_password_check`.
    pub plugins: Vec<String>,
    /// Settings (options of the program), names and values.
    pub settings: Vec<(String, String)>,
}

impl Default for MariaDbOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            names: vec!["localhost".to_owned()],
            tls: true,
            plugins: Vec::new(),
            settings: Vec::new(),
        }
    }
}

/// A running server. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct MariaDb {
    server: Server,
    authority: String,
    client: SqlClient,
    _ports: Lease,
    _folder: TempDir,
}

impl MariaDb {
    /// Starts one and waits until it serves.
    pub async fn start() -> Result<Self> {
        Self::start_with(MariaDbOptions::default()).await
    }

    /// Starts one that differs from the usual one.
    pub async fn start_with(options: MariaDbOptions) -> Result<Self> {
        let programs = packages::ensure_mariadb(!options.plugins.is_empty())?;
        let owner = state::temporary()?;
        let folder = owner.path().to_owned();
        let mut ports = Lease::default();
        let port = ports.take()?;
        // As policies like it.
        let password = format!("Root-1-{}", random_password()?);
        let pki = Pki::create(folder.join("pki"))?;
        give_away(&folder, USER)?;
        initialise(&programs, &folder, &password)?;
        let mut args = arguments(&programs, &folder, port, &options)?;
        if options.tls {
            args.extend(identify(&pki, &folder, &options)?);
        }
        let mut command = unprivileged(&programs.server, USER)?;
        command.extend(args);
        let spec = Spec {
            name: NAME.to_owned(),
            program: command.remove(0).into(),
            args: command,
            env: BTreeMap::new(),
            log: folder.join("log"),
        };
        let authority = pki.certificate(Authority::Cluster.file());
        let mut server = Self {
            server: Server::new(spec, options.address, port),
            authority: pki.authority_pem(Authority::Cluster)?,
            client: SqlClient {
                program: vec![text(&programs.client)?],
                tls: vec![format!("--ssl-ca={authority}")],
                password,
                folder,
            },
            _ports: ports,
            _folder: owner,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// All that it logged: errors and warnings.
    pub fn log(&self) -> Result<String> {
        self.client.file("log")
    }
}

speaks_sql!(MariaDb);
runs!(MariaDb, question: "SELECT 1", stop: TERM, end: KILL);

/// Makes the data folder, and the file that bounds the superuser to the socket and gives it a password.
fn initialise(programs: &MariaDbPrograms, folder: &Path, password: &str) -> Result<()> {
    let command = unprivileged(&programs.install, USER)?;
    let (program, rest) = command.split_first().context("a command")?;
    let data = format!("--datadir={}", text(&folder.join("data"))?);
    let mut args: Vec<&str> = rest.iter().map(String::as_str).collect();
    args.extend(["--no-defaults", "--auth-root-authentication-method=normal"]);
    args.extend(["--skip-test-db", "--skip-name-resolve", "--force", &data]);
    // A server that starts removes what others have in the same folder for temporary files.
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary)?;
    give_away(&temporary, USER)?;
    let temporary = format!("--tmpdir={}", text(&temporary)?);
    args.push(&temporary);
    args.extend(SMALL);
    run(program, &args).context("make the data folder")?;
    let first = folder.join("first.sql");
    let statements = format!(
        "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';\nFLUSH PRIVILEGES;\n\
         ALTER USER root@localhost IDENTIFIED BY '{password}';\n"
    );
    write_private(&first, &statements)?;
    give_away(&first, USER)
}

fn arguments(
    programs: &MariaDbPrograms,
    folder: &Path,
    port: u16,
    options: &MariaDbOptions,
) -> Result<Vec<String>> {
    let path = |name: &str| text(&folder.join(name));
    let mut args = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", path("data")?),
        format!("--tmpdir={}", path("tmp")?),
        format!("--socket={}", path("socket")?),
        format!("--pid-file={}", path("pid")?),
        format!("--init-file={}", path("first.sql")?),
        format!("--general-log-file={}", path("general.log")?),
        format!("--bind-address={}", options.address),
        format!("--port={port}"),
        "--skip-name-resolve".to_owned(),
        "--max-connections=30".to_owned(),
        // The machine does not lose its power during a test.
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
        "--log-warnings=2".to_owned(),
    ];
    args.extend(SMALL.map(ToOwned::to_owned));
    if let Some(found) = &programs.plugins {
        let plugins = folder.join("plugins");
        fs::create_dir(&plugins)?;
        for plugin in &options.plugins {
            let file = format!("{plugin}.so");
            fs::copy(found.join(&file), plugins.join(&file))
                .with_context(|| format!("copy plug-in {plugin}"))?;
            args.push(format!("--plugin-load-add={plugin}"));
        }
        args.push(format!("--plugin-dir={}", text(&plugins)?));
    }
    let more = options.settings.iter();
    args.extend(more.map(|(name, value)| format!("--{name}={value}")));
    Ok(args)
}

/// The server's certificate and key.
fn identify(pki: &Pki, folder: &Path, options: &MariaDbOptions) -> Result<Vec<String>> {
    let (certificate, key) = certify(pki, folder, NAME, (&options.names, options.address))?;
    give_away(&key, USER)?;
    Ok(vec![
        format!("--ssl-cert={}", text(&certificate)?),
        format!("--ssl-key={}", text(&key)?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_keeps_what_was_committed_when_it_is_stopped() {
        let mut server = MariaDb::start().await.unwrap();
        server
            .execute("CREATE DATABASE d; CREATE TABLE d.t (n int); INSERT INTO d.t VALUES (7)")
            .await
            .unwrap();
        server.restart().await.unwrap();
        assert_eq!(server.execute("SELECT * FROM d.t").await.unwrap(), "7");
        server.kill().unwrap();
        assert!(server.execute("SELECT 1").await.is_err());
        server.start_again().await.unwrap();
        assert_eq!(server.execute("SELECT * FROM d.t").await.unwrap(), "7");
    }
}
