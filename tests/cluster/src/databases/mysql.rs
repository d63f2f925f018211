//! A real MySQL, in a temporary folder, with TLS by an authority of its own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{
    certify, random_password,
    server::{Server, runs},
    sql_client::{SqlClient, speaks_sql},
    text,
};
use crate::{
    certificates::{Authority, Pki, write_private},
    packages::{self, MySqlPrograms},
    ports::Lease,
    process::{Spec, run},
    state,
};

const NAME: &str = "mysql";

/// How a server differs from the usual one.
#[derive(Debug, Clone)]
pub struct MySqlOptions {
    /// Where it listens. The certificate is for this address.
    pub address: IpAddr,
    /// What the certificate is for besides.
    pub names: Vec<String>,
    /// Settings (options of the program), names and values.
    pub settings: Vec<(String, String)>,
}

impl Default for MySqlOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            names: vec!["localhost".to_owned()],
            settings: Vec::new(),
        }
    }
}

/// A running server. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct MySql {
    server: Server,
    authority: String,
    client: SqlClient,
    _ports: Lease,
    _folder: TempDir,
}

impl MySql {
    /// Starts one and waits until it serves.
    pub async fn start() -> Result<Self> {
        Self::start_with(MySqlOptions::default()).await
    }

    /// Starts one that differs from the usual one.
    pub async fn start_with(options: MySqlOptions) -> Result<Self> {
        let programs = packages::ensure_mysql()?;
        let owner = state::temporary()?;
        let folder = owner.path().to_owned();
        let mut ports = Lease::default();
        let port = ports.take()?;
        let password = random_password()?;
        let pki = Pki::create(folder.join("pki"))?;
        copy_data(&programs, &folder)?;
        let first = format!("ALTER USER root@localhost IDENTIFIED BY '{password}';\n");
        write_private(&folder.join("first.sql"), &first)?;
        let mut args = arguments(&programs, &folder, port, &options)?;
        let (certificate, key) = certify(&pki, &folder, NAME, (&options.names, options.address))?;
        args.push(format!("--ssl-cert={}", text(&certificate)?));
        args.push(format!("--ssl-key={}", text(&key)?));
        let spec = Spec {
            name: NAME.to_owned(),
            program: args.remove(0).into(),
            args,
            env: BTreeMap::new(),
            log: folder.join("log"),
        };
        let authority = pki.certificate(Authority::Cluster.file());
        let mut server = Self {
            server: Server::new(spec, options.address, port),
            authority: pki.authority_pem(Authority::Cluster)?,
            client: SqlClient {
                program: programs.client(),
                tls: vec![
                    "--ssl-mode=VERIFY_CA".to_owned(),
                    format!("--ssl-ca={authority}"),
                ],
                password,
                folder,
            },
            _ports: ports,
            _folder: owner,
        };
        server.start_again().await?;
        Ok(server)
    }
}

speaks_sql!(MySql);
runs!(MySql, question: "SELECT 1", stop: TERM, end: KILL);

/// An empty database for a server of its own.
fn copy_data(programs: &MySqlPrograms, folder: &Path) -> Result<()> {
    let (from, to) = (text(&programs.data())?, text(&folder.join("data"))?);
    run("cp", &["-a", "--reflink=auto", &from, &to]).context("copy the empty database")?;
    Ok(())
}

/// The program and all arguments but those of TLS.
fn arguments(
    programs: &MySqlPrograms,
    folder: &Path,
    port: u16,
    options: &MySqlOptions,
) -> Result<Vec<String>> {
    let path = |name: &str| text(&folder.join(name));
    let mut args = programs.server();
    args.extend([
        format!("--datadir={}", path("data")?),
        format!("--tmpdir={}", path("")?),
        format!("--socket={}", path("socket")?),
        format!("--pid-file={}", path("pid")?),
        format!("--init-file={}", path("first.sql")?),
        format!("--general-log-file={}", path("general.log")?),
        format!("--bind-address={}", options.address),
        format!("--port={port}"),
        "--max-connections=30".to_owned(),
        // The machine does not lose its power during a test, but the server is killed.
        "--innodb-flush-log-at-trx-commit=2".to_owned(),
    ]);
    let logs = options.settings.iter().any(|(name, _)| name == "log-bin");
    args.extend((!logs).then(|| "--disable-log-bin".to_owned()));
    let more = options.settings.iter();
    args.extend(more.map(|(name, value)| format!("--{name}={value}")));
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_keeps_what_was_committed_when_it_is_stopped() {
        let mut server = MySql::start().await.unwrap();
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
