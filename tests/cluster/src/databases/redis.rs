//! A real Redis: Debian's, in a temporary folder, with TLS by an authority of its own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    answer, certify, random_password,
    server::{Server, runs},
    text,
};
use crate::{
    certificates::{Authority, Pki, write_private},
    packages,
    ports::Lease,
    process::Spec,
    state,
};

/// The name of the program: what it does follows from it.
const NAME: &str = "redis-server";
/// The name of the superuser.
const ROOT: &str = "root";

/// Where a server keeps its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisUsers {
    /// In a file of their own.
    File,
    /// In the configuration file.
    Configuration,
    /// Nowhere: it has neither, and forgets them.
    Nowhere,
}

/// How a server differs from the usual one.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Where it listens. The certificate is for this address.
    pub address: IpAddr,
    /// What the certificate is for besides.
    pub names: Vec<String>,
    /// Whether it has TLS. Without, it takes plain connections.
    pub tls: bool,
    /// Where it keeps its users.
    pub users: RedisUsers,
    /// Settings (`redis.conf`), names and values.
    pub settings: Vec<(String, String)>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            names: vec!["localhost".to_owned()],
            tls: true,
            users: RedisUsers::File,
            settings: Vec::new(),
        }
    }
}

/// A running server, in which `default` is off. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    authority: String,
    authority_file: PathBuf,
    password: String,
    client: PathBuf,
    folder: PathBuf,
    _ports: Lease,
    _folder: TempDir,
}

impl Redis {
    /// Starts one and waits until it serves.
    pub async fn start() -> Result<Self> {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts one that differs from the usual one.
    pub async fn start_with(options: RedisOptions) -> Result<Self> {
        let programs = packages::ensure_redis()?;
        let owner = state::temporary()?;
        let folder = owner.path().to_owned();
        let mut ports = Lease::default();
        let port = ports.take()?;
        let password = random_password()?;
        let pki = Pki::create(folder.join("pki"))?;
        let program = folder.join(NAME);
        symlink(&programs.server, &program).context("name the program")?;
        let mut settings = settings(&folder, port, &options)?;
        if options.tls {
            settings.extend(identify(&pki, &folder, &options)?);
        }
        settings.extend(users(&folder, &password, options.users)?);
        settings.extend(options.settings.iter().cloned());
        let spec = Spec {
            name: NAME.to_owned(),
            program,
            args: configure(&folder, &settings, options.users)?,
            env: BTreeMap::new(),
            log: folder.join("log"),
        };
        let mut server = Self {
            server: Server::new(spec, options.address, port),
            authority: pki.authority_pem(Authority::Cluster)?,
            authority_file: pki.certificate(Authority::Cluster.file()).into(),
            password,
            client: programs.client,
            folder,
            _ports: ports,
            _folder: owner,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Its folder, with `redis.conf` and `users.acl`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs commands as the superuser, one a line, without quotes, and returns what they give.
    pub async fn execute(&self, commands: &str) -> Result<String> {
        let client = || {
            let mut client = self.client(ROOT, &self.password);
            client.arg("-s").arg(self.folder.join("socket"));
            client
        };
        answers(client, commands).await
    }

    /// Runs commands as another user, with a password and over TLS.
    pub async fn execute_as(&self, user: &str, password: &str, commands: &str) -> Result<String> {
        let (address, port) = (
            self.server.address.to_string(),
            self.server.port.to_string(),
        );
        let client = || {
            let mut client = self.client(user, password);
            client
                .args(["-h", &address, "-p", &port, "--tls", "--cacert"])
                .arg(&self.authority_file);
            client
        };
        answers(client, commands).await
    }

    fn client(&self, user: &str, password: &str) -> Command {
        let mut client = Command::new(&self.client);
        client
            // A command that fails is a failure.
            .args(["-e", "--no-auth-warning", "--user", user])
            .env("REDISCLI_AUTH", password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        client
    }
}

runs!(Redis, question: "PING", stop: TERM, end: KILL);

/// Runs the client for each line: for several, it goes on after an error, and ends well.
async fn answers(client: impl Fn() -> Command, commands: &str) -> Result<String> {
    let mut answers = Vec::new();
    for command in commands.lines() {
        let mut client = client();
        client.args(command.split_whitespace());
        let answered = answer(client, "").await;
        answers.push(answered.with_context(|| command.to_owned())?);
    }
    Ok(answers.join("\n"))
}

type Settings = Vec<(String, String)>;

fn named<const N: usize>(settings: [(&str, String); N]) -> Settings {
    settings
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn settings(folder: &Path, port: u16, options: &RedisOptions) -> Result<Settings> {
    let (plain, encrypted) = if options.tls { (0, port) } else { (port, 0) };
    Ok(named([
        ("bind", options.address.to_string()),
        ("port", plain.to_string()),
        ("tls-port", encrypted.to_string()),
        ("unixsocket", text(&folder.join("socket"))?),
        ("dir", text(folder)?),
        // No data are kept, and no memory is taken for those who might connect.
        ("save", "\"\"".to_owned()),
        ("maxclients", "100".to_owned()),
    ]))
}

/// The server's certificate and key. Clients have none.
fn identify(pki: &Pki, folder: &Path, options: &RedisOptions) -> Result<Settings> {
    let (certificate, key) = certify(pki, folder, NAME, (&options.names, options.address))?;
    Ok(named([
        ("tls-cert-file", text(&certificate)?),
        ("tls-key-file", text(&key)?),
        (
            "tls-ca-cert-file",
            pki.certificate(Authority::Cluster.file()),
        ),
        ("tls-auth-clients", "no".to_owned()),
    ]))
}

fn users(folder: &Path, password: &str, users: RedisUsers) -> Result<Settings> {
    let lines = [
        "default off".to_owned(),
        format!("{ROOT} on >{password} ~* &* +@all"),
    ];
    if users != RedisUsers::File {
        return Ok(lines.map(|line| ("user".to_owned(), line)).into());
    }
    let file = folder.join("users.acl");
    let lines = lines.map(|line| format!("user {line}\n"));
    write_private(&file, &lines.concat())?;
    Ok(named([("aclfile", text(&file)?)]))
}

/// Writes the configuration file, or makes arguments of the settings, which is what a server without one has.
fn configure(folder: &Path, settings: &Settings, users: RedisUsers) -> Result<Vec<String>> {
    if users == RedisUsers::Nowhere {
        let arguments = settings.iter().flat_map(|(name, value)| {
            let value = value.replace("\"\"", "");
            let words: Vec<_> = value.split(' ').map(ToOwned::to_owned).collect();
            [vec![format!("--{name}")], words].concat()
        });
        return Ok(arguments.collect());
    }
    let file = folder.join("redis.conf");
    let lines = settings
        .iter()
        .map(|(name, value)| format!("{name} {value}\n"));
    write_private(&file, &lines.collect::<String>())?;
    Ok(vec![text(&file)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_keeps_the_users_that_were_saved_where_it_keeps_any() {
        for (users, save) in [
            (RedisUsers::File, "ACL SAVE"),
            (RedisUsers::Configuration, "CONFIG REWRITE"),
            (RedisUsers::Nowhere, "PING"),
        ] {
            let options = RedisOptions {
                users,
                ..RedisOptions::default()
            };
            let mut server = Redis::start_with(options).await.unwrap();
            server
                .execute(&format!("ACL SETUSER orders on >pw +ping\n{save}"))
                .await
                .unwrap();
            server.kill().unwrap();
            assert!(server.execute("PING").await.is_err());
            server.start_again().await.unwrap();
            let kept = server.execute_as("orders", "pw", "PING").await;
            assert_eq!(kept.is_ok(), users != RedisUsers::Nowhere, "{users:?}");
        }
    }
}
