//! A real PostgreSQL: Debian's, in a temporary folder, with TLS by an authority of its own.
//!
//! The server refuses to run as root, so that root runs it as the user whom the package made for it.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    answer, certify, give_away, random_password,
    server::{Server, runs},
    text, unprivileged,
};
use crate::{
    certificates::{Authority, Pki, write_private},
    packages,
    ports::Lease,
    process::{Spec, run},
    state,
};

/// The user of the package, and the name of the superuser.
const POSTGRES: &str = "postgres";

/// How a server differs from the usual one.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where it listens. The certificate is for this address.
    pub address: IpAddr,
    /// What the certificate is for besides.
    pub names: Vec<String>,
    /// Whether it has TLS. Without, it takes passwords (SCRAM) over plain connections.
    pub tls: bool,
    /// Whether it takes plain connections besides TLS.
    pub plain: bool,
    /// Lines of `pg_hba.conf` before the usual ones.
    pub admission: Vec<String>,
    /// Settings (`postgresql.conf`), names and values.
    pub settings: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            names: vec!["localhost".to_owned()],
            tls: true,
            plain: false,
            admission: Vec::new(),
            settings: Vec::new(),
        }
    }
}

/// A running server. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    authority: String,
    authority_file: PathBuf,
    password: String,
    psql: PathBuf,
    sockets: PathBuf,
    _ports: Lease,
    _folder: TempDir,
}

impl Postgres {
    /// Starts one and waits until it serves.
    pub async fn start() -> Result<Self> {
        Self::start_with(PostgresOptions::default()).await
    }

    /// Starts one that differs from the usual one.
    pub async fn start_with(options: PostgresOptions) -> Result<Self> {
        let programs = packages::ensure_postgres()?;
        let folder = state::temporary()?;
        let mut ports = Lease::default();
        let port = ports.take()?;
        let password = random_password()?;
        let pki = Pki::create(folder.path().join("pki"))?;
        let data = folder.path().join("data");
        let sockets = folder.path().join("run");
        for own in [folder.path(), &data, &sockets] {
            fs::create_dir_all(own)?;
            give_away(own, POSTGRES)?;
        }
        initialise(&programs, folder.path(), &data, &password)?;
        identify(&pki, &data, &options)?;
        configure(&data, &sockets, port, &options)?;
        let mut command = unprivileged(&programs.join("postgres"), POSTGRES)?;
        command.extend(["-D".to_owned(), text(&data)?]);
        let spec = Spec {
            name: POSTGRES.to_owned(),
            program: command.remove(0).into(),
            args: command,
            env: BTreeMap::new(),
            log: folder.path().join("log"),
        };
        let mut server = Self {
            server: Server::new(spec, options.address, port),
            authority: pki.authority_pem(Authority::Cluster)?,
            authority_file: pki.certificate(Authority::Cluster.file()).into(),
            password,
            psql: programs.join("psql"),
            sockets,
            _ports: ports,
            _folder: folder,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Name and password of the superuser.
    pub fn superuser(&self) -> (&str, &str) {
        (POSTGRES, &self.password)
    }

    /// All that it logged.
    pub fn log(&self) -> Result<String> {
        let log = fs::read(&self.server.spec.log).context("read the log")?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Runs statements as the superuser, and returns what they give: a line for each row, with `|` between columns.
    pub async fn execute(&self, statements: &str) -> Result<String> {
        let mut psql = self.psql(POSTGRES);
        psql.arg("-h").arg(&self.sockets);
        answer(psql, statements).await
    }

    /// Runs statements as another user, with a password and over TLS.
    pub async fn execute_as(&self, user: &str, password: &str, statements: &str) -> Result<String> {
        let mut psql = self.psql(user);
        psql.args(["-h", &self.server.address.to_string()])
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &self.authority_file);
        answer(psql, statements).await
    }

    fn psql(&self, user: &str) -> Command {
        let mut psql = Command::new(&self.psql);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .args([
                "-U",
                user,
                "-d",
                POSTGRES,
                "-p",
                &self.server.port.to_string(),
            ])
            .env("PGCLIENTENCODING", "UTF8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        psql
    }
}

// It is stopped by a "fast" shutdown, and ended by an "immediate" one: its shared memory would stay after a kill.
runs!(Postgres, question: "SELECT 1", stop: INT, end: QUIT);

fn initialise(programs: &Path, folder: &Path, data: &Path, password: &str) -> Result<()> {
    let file = folder.join("password");
    write_private(&file, password)?;
    give_away(&file, POSTGRES)?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))?;
    let command = unprivileged(&programs.join("initdb"), POSTGRES)?;
    let (program, rest) = command.split_first().context("a command")?;
    let (data, password_file) = (text(data)?, format!("--pwfile={}", text(&file)?));
    let mut args: Vec<&str> = rest.iter().map(String::as_str).collect();
    args.extend(["-D", &data, "-U", POSTGRES, &password_file]);
    args.extend(["--encoding=UTF8", "--locale=C", "--no-sync"]);
    args.extend(["--auth-local=trust", "--auth-host=scram-sha-256"]);
    run(program, &args).context("make the data folder")?;
    fs::remove_file(file).context("remove the password")
}

/// The server's certificate and key.
fn identify(pki: &Pki, data: &Path, options: &PostgresOptions) -> Result<()> {
    let (_, key) = certify(pki, data, POSTGRES, (&options.names, options.address))?;
    give_away(&key, POSTGRES)
}

fn configure(data: &Path, sockets: &Path, port: u16, options: &PostgresOptions) -> Result<()> {
    let switch = |on| if on { "on" } else { "off" };
    let mut settings = vec![
        ("listen_addresses", options.address.to_string()),
        ("port", port.to_string()),
        ("unix_socket_directories", text(sockets)?),
        ("ssl", switch(options.tls).to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        // The machine does not lose its power during a test.
        ("fsync", "off".to_owned()),
        ("shared_buffers", "16MB".to_owned()),
        ("max_connections", "30".to_owned()),
        ("log_connections", "on".to_owned()),
    ];
    let more = options.settings.iter();
    settings.extend(more.map(|(name, value)| (name.as_str(), value.clone())));
    let line = |(name, value): (&str, String)| format!("{name} = '{}'", value.replace('\'', "''"));
    let lines: Vec<_> = settings.into_iter().map(line).collect();
    let lines = lines.join("\n") + "\n";
    fs::write(data.join("postgresql.auto.conf"), lines).context("write the settings")?;

    // The folder of the socket is the running user's alone.
    let mut admission = vec!["local all all trust".to_owned()];
    admission.extend(options.admission.iter().cloned());
    if options.tls {
        admission.push("hostssl all all all scram-sha-256".to_owned());
    }
    if options.plain || !options.tls {
        admission.push("hostnossl all all all scram-sha-256".to_owned());
    }
    let admission = admission.join("\n") + "\n";
    fs::write(data.join("pg_hba.conf"), admission).context("write pg_hba.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_keeps_what_was_committed_when_it_is_killed() {
        let mut server = Postgres::start().await.unwrap();
        server
            .execute("CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
            .await
            .unwrap();
        server.kill().unwrap();
        assert!(server.execute("SELECT 1").await.is_err());
        server.start_again().await.unwrap();
        assert_eq!(server.execute("TABLE t").await.unwrap(), "7");
        server.restart().await.unwrap();
        assert_eq!(server.execute("TABLE t").await.unwrap(), "7");
    }
}
