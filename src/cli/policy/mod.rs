//! `keystead policy explain`: what would be decided about a use of a key or a read of a secret, and the statement, grant or right behind it.

mod key;
mod secret;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::process;
use super::words::is_closed;
use crate::api::{ManagedKey, ManagedSecret};
use crate::policy::{ActionSet, Principal, namespace_of_user};

pub(crate) use key::{place_of, rules_of_manifest};

/// Largest manifest that is read, in bytes: more than the API server takes.
const MAX_FILE: u64 = 4 << 20;
/// How long RBAC may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Prefix of the names that secrets have as principals.
const SECRET: &str = "keystead:secret:";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say whether somebody may do something with a key, or read a secret by the API, and why. Exit code 0: he may; 1: he may not; 2: it
    /// cannot be said.
    Explain(Box<Explain>),
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The key, as `namespace/name`. Its policy and grants in force are read from the cluster.
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        required_unless_present_any = ["secret", "file"],
        conflicts_with_all = ["secret", "file"]
    )]
    key: Option<String>,
    /// The secret, as `namespace/name`. Its policy is read from the `ManagedSecret`. What its key says about the reader is another
    /// question: `--key ... --action Decrypt --via secrets`.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "file")]
    secret: Option<String>,
    /// A manifest of a `ManagedKey` or `ManagedSecret` whose policy is read instead. No cluster is asked, so that there are no grants,
    /// RBAC's answer stays open, and every namespace counts as the one that was meant.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Who: a user name, `system:serviceaccount:NAMESPACE:NAME`, or `keystead:secret:NAMESPACE:NAME`.
    #[arg(long = "as", value_name = "USER")]
    user: String,
    /// A group of the user; can be given several times. A service account's own groups are added.
    #[arg(long = "as-group", value_name = "GROUP")]
    groups: Vec<String>,
    /// What for: the name of a call of AWS KMS, such as Decrypt; of a secret `GetSecretValue`, `DescribeSecret` or
    /// `ListSecretVersionIds`.
    #[arg(long)]
    action: String,
    /// A pair of the encryption context; can be given several times. Of keys only.
    #[arg(long = "context", value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// The way by which the key is used; always `secrets` for a secret. Of keys only.
    #[arg(long, value_enum)]
    via: Option<Way>,
    /// As a pod of that service account whose spec names the secret in a volume. Of secrets only.
    #[arg(long)]
    mounts: bool,
    /// The namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "keystead-system")]
    operator_namespace: String,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// For a `ManagedSecret`.
    Secrets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line for people.
    Text,
    /// One JSON object.
    Json,
}

/// Runs; whether it may be done is the exit code, since a script wants to know.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Explain(args) = args.command;
    Ok(answer(&args, process::client()).await)
}

/// Explains, and gives the exit code. `client`: the way to the cluster, taken only if the cluster is asked.
pub(crate) async fn answer(
    args: &Explain,
    client: impl Future<Output = anyhow::Result<Client>>,
) -> ExitCode {
    let explained = async {
        let explained = explain(args, client).await?;
        print(args, &explained)?;
        Ok(explained.answer())
    };
    match explained.await {
        Ok(Answer::Allowed) => ExitCode::SUCCESS,
        Ok(Answer::Denied) => ExitCode::from(1),
        Ok(Answer::Undecided) => ExitCode::from(2),
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// A decision, for people.
#[derive(Debug)]
struct Explained {
    action: &'static str,
    allow: bool,
    /// Only RBAC could tell, and was not asked.
    needs_rbac: bool,
    reason: String,
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    Denied,
    Undecided,
}

impl Explained {
    fn answer(&self) -> Answer {
        match (self.allow, self.needs_rbac) {
            (true, _) => Answer::Allowed,
            (false, true) => Answer::Undecided,
            (false, false) => Answer::Denied,
        }
    }
}

impl Answer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Undecided => "undecided",
        }
    }
}

async fn explain(
    args: &Explain,
    client: impl Future<Output = anyhow::Result<Client>>,
) -> anyhow::Result<Explained> {
    match (&args.file, &args.key, &args.secret) {
        (Some(path), _, _) => match read_any(path)? {
            Manifest::Key(key) => key::by_manifest(&key, args),
            Manifest::Secret(secret) => secret::by_manifest(&secret, args),
        },
        (None, Some(key), _) => key::in_cluster(client.await?, key, args).await,
        (None, None, secret) => {
            let secret = secret.as_deref().unwrap_or_default();
            secret::in_cluster(client.await?, secret, args).await
        }
    }
}

fn print(args: &Explain, explained: &Explained) -> anyhow::Result<()> {
    let (answer, action) = (explained.answer().as_str(), explained.action);
    let (user, reason) = (&args.user, &explained.reason);
    let mut out = io::stdout().lock();
    match args.output {
        Output::Text => writeln!(out, "{answer}: {user}: {action}: {reason}")?,
        Output::Json => {
            let shown =
                json!({"decision": answer, "user": user, "action": action, "reason": reason});
            writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?;
        }
    }
    Ok(())
}

/// The action of that name.
fn named<A: ActionSet>(name: &str, all: &[A]) -> anyhow::Result<A> {
    let found = all.iter().find(|action| action.name() == name);
    found.copied().with_context(|| {
        let names: Vec<_> = all.iter().map(|action| action.name()).collect();
        format!("--action {name} is none; there are: {}", names.join(", "))
    })
}

/// Who is meant. `uid`: the UID of his namespace.
fn principal(args: &Explain, uid: Option<String>) -> anyhow::Result<Principal> {
    if let Some(rest) = args.user.strip_prefix(SECRET) {
        let (namespace, name) = rest
            .split_once(':')
            .context("--as keystead:secret:... needs a namespace and a name")?;
        return Ok(Principal::secret(namespace, name, uid));
    }
    Ok(Principal::user(args.user.clone(), groups(args), uid)?)
}

fn groups(args: &Explain) -> Vec<String> {
    groups_of(&args.user, &args.groups)
}

/// The groups that were given, and those that the API server adds.
pub(crate) fn groups_of(user: &str, given: &[String]) -> Vec<String> {
    let mut groups = given.to_vec();
    if let Some(namespace) = namespace_of_user(user) {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups.push("system:authenticated".to_owned());
    groups
}

/// A manifest with a policy.
pub(crate) enum Manifest {
    Key(Box<ManagedKey>),
    Secret(Box<ManagedSecret>),
}

/// Reads a manifest of either kind.
pub(crate) fn read_any(path: &Path) -> anyhow::Result<Manifest> {
    let shown = path.display();
    let unreadable = || format!("{shown} cannot be read");
    let file = std::fs::File::open(path).with_context(unreadable)?;
    let mut text = String::new();
    let mut bounded = file.take(MAX_FILE + 1);
    let size = bounded.read_to_string(&mut text).with_context(unreadable)?;
    ensure!(
        u64::try_from(size)? <= MAX_FILE,
        "{shown} has more than {MAX_FILE} bytes"
    );
    let any: Value = typed(&text).with_context(|| format!("{shown} is no YAML"))?;
    match any["kind"].as_str() {
        Some("ManagedKey") => {
            let key = typed(&text).with_context(|| format!("{shown} is no ManagedKey"))?;
            Ok(Manifest::Key(key))
        }
        Some("ManagedSecret") => {
            let secret = typed(&text).with_context(|| format!("{shown} is no ManagedSecret"))?;
            Ok(Manifest::Secret(secret))
        }
        _ => bail!("{shown} is neither a ManagedKey nor a ManagedSecret"),
    }
}

fn typed<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    Ok(serde_saphyr::from_str(text)?)
}

/// Without a cluster each namespace is taken for the one that was accepted: it is known by its name.
fn offline_uid(namespace: &str) -> String {
    namespace.to_owned()
}

async fn namespace_uid(client: &Client, name: &str) -> anyhow::Result<Option<String>> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get_metadata_opt(name).await;
    let found = found.with_context(|| format!("namespace {name} cannot be looked at"))?;
    Ok(found.and_then(|namespace| namespace.metadata.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments of a command line.
    pub(super) fn line(args: &[&str]) -> Explain {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            explain: Explain,
        }
        let line = ["explain"].iter().chain(args);
        <Line as clap::Parser>::parse_from(line).explain
    }
}
