//! `keystead policy explain`: what would be decided about a use of a key, and the statement or grant behind it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::json;

use super::process;
use super::words::is_closed;
use crate::api::{KeyMaterial, ManagedKey, NamespaceRecord, PolicyRecord, Via};
use crate::authorization::{self, KeyPlace, Subject};
use crate::policy::{
    Action, Context, Decision, KeyRules, Principal, Rbac, Request, check_policy, decide,
    foreign_namespaces, namespace_of_user,
};

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
    /// Say whether somebody may do something with a key, and why. Exit code 0: he may; 1: he may not; 2: it cannot be said.
    Explain(Box<Explain>),
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The key, as `namespace/name`. Its policy and grants in force are read from the cluster.
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    key: Option<String>,
    /// A manifest of a `ManagedKey` whose policy is read instead. No cluster is asked, so that there are no grants, RBAC's answer
    /// stays open, and every namespace counts as the one that was meant.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Who: a user name, `system:serviceaccount:NAMESPACE:NAME`, or `keystead:secret:NAMESPACE:NAME`.
    #[arg(long = "as", value_name = "USER")]
    user: String,
    /// A group of the user; can be given several times. A service account's own groups are added.
    #[arg(long = "as-group", value_name = "GROUP")]
    groups: Vec<String>,
    /// What for: the name of an AWS KMS call, such as Decrypt.
    #[arg(long)]
    action: String,
    /// A pair of the encryption context; can be given several times.
    #[arg(long = "context", value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// The way by which the key is used; always `secrets` for a secret.
    #[arg(long, value_enum)]
    via: Option<Way>,
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
    match explain(args, client).await {
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

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    Denied,
    /// Only RBAC could tell, and was not asked.
    Undecided,
}

impl Answer {
    fn of(decision: &Decision) -> Self {
        match (decision.allow, decision.needs_rbac()) {
            (true, _) => Self::Allowed,
            (false, Some(_)) => Self::Undecided,
            (false, None) => Self::Denied,
        }
    }

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
) -> anyhow::Result<Answer> {
    let action = action(&args.action)?;
    let context = context(&args.context)?;
    let decision = match &args.file {
        Some(path) => {
            let key = read(path)?;
            let place = place_of(&key);
            let rules = rules_of_manifest(&key, &place)?;
            let uid = namespace_of_user(&args.user).map(offline_uid);
            decided(args, &rules, action, &context, uid, Rbac::NotAsked)?
        }
        None => in_cluster(client.await?, args, action, &context).await?,
    };
    let answer = Answer::of(&decision);
    print(args, action, &decision, answer)?;
    Ok(answer)
}

fn print(
    args: &Explain,
    action: Action,
    decision: &Decision,
    answer: Answer,
) -> anyhow::Result<()> {
    let answer = answer.as_str();
    let mut out = io::stdout().lock();
    match args.output {
        Output::Text => writeln!(
            out,
            "{answer}: {}: {}: {}",
            args.user, action, decision.reason
        )?,
        Output::Json => {
            let shown = json!({
                "decision": answer, "user": args.user, "action": action.name(), "reason": decision.reason.to_string(),
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?;
        }
    }
    Ok(())
}

fn action(name: &str) -> anyhow::Result<Action> {
    let found = Action::ALL.iter().find(|action| action.name() == name);
    found.copied().with_context(|| {
        let names: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        format!("--action {name} is none; there are: {}", names.join(", "))
    })
}

fn context(pairs: &[String]) -> anyhow::Result<Context> {
    let pair = |pair: &String| {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("--context {pair} is not of the form KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    pairs.iter().map(pair).collect()
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

fn decided(
    args: &Explain,
    rules: &KeyRules,
    action: Action,
    context: &Context,
    uid: Option<String>,
    rbac: Rbac,
) -> anyhow::Result<Decision> {
    let secret = args.user.starts_with(SECRET);
    let principal = principal(args, uid)?;
    let request = Request {
        principal: &principal,
        action,
        context,
        via: (secret || args.via == Some(Way::Secrets)).then_some(Via::Secrets),
        now: Timestamp::now(),
    };
    Ok(decide(&request, rules, rbac))
}

pub(crate) fn read(path: &Path) -> anyhow::Result<ManagedKey> {
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
    let key: ManagedKey =
        serde_saphyr::from_str(&text).with_context(|| format!("{shown} is no ManagedKey"))?;
    Ok(key)
}

pub(crate) fn place_of(key: &ManagedKey) -> (String, String) {
    let namespace = key.metadata.namespace.clone();
    let name = key.metadata.name.clone().unwrap_or_default();
    (namespace.unwrap_or_else(|| "default".to_owned()), name)
}

/// Without a cluster each namespace is taken for the one that was accepted: it is known by its name.
fn offline_uid(namespace: &str) -> String {
    namespace.to_owned()
}

pub(crate) fn rules_of_manifest(
    key: &ManagedKey,
    place: &(String, String),
) -> anyhow::Result<KeyRules> {
    let named = key.spec.policy.iter();
    let names = named.flat_map(|policy| foreign_namespaces(policy, &place.0));
    let record = PolicyRecord {
        accepted: key.spec.policy.clone(),
        namespaces: names
            .map(|name| NamespaceRecord {
                uid: name.clone(),
                name,
            })
            .collect(),
        ignored: false,
    };
    if let Some(policy) = &key.spec.policy {
        check_policy(policy)?;
    }
    let place = (place.0.as_str(), place.1.as_str());
    Ok(KeyRules::new(place, Some(place.0), &record, &[])?)
}

async fn in_cluster(
    client: Client,
    args: &Explain,
    action: Action,
    context: &Context,
) -> anyhow::Result<Decision> {
    let key = args.key.as_deref().unwrap_or_default();
    let Some((namespace, name)) = key.split_once('/') else {
        bail!("--key {key} is not of the form <namespace>/<name>");
    };
    let truth = truth(&client, &args.operator_namespace, namespace, name).await?;
    let rules = KeyRules::of(&truth.spec).context("the policy in force cannot be read")?;
    let uid = match namespace_of_user(&args.user) {
        Some(home) => namespace_uid(&client, home).await?,
        None => None,
    };
    let decision = decided(args, &rules, action, context, uid.clone(), Rbac::NotAsked)?;
    let Some(attributes) = decision.needs_rbac() else {
        return Ok(decision);
    };
    let subject = Subject {
        user: args.user.clone(),
        groups: groups(args),
        ..Subject::default()
    };
    let key = KeyPlace { namespace, name };
    let rbac = authorization::ask(client, &subject, key, attributes, PATIENCE).await;
    let rbac = rbac.context("RBAC could not be asked (create on subjectaccessreviews)")?;
    decided(args, &rules, action, context, uid, rbac)
}

/// The truth about the key of that name that is in use.
async fn truth(
    client: &Client,
    operator: &str,
    namespace: &str,
    name: &str,
) -> anyhow::Result<KeyMaterial> {
    let materials: Api<KeyMaterial> = Api::namespaced(client.clone(), operator);
    let selector = format!("spec.namespace={namespace},spec.name={name}");
    let found = materials
        .list(&ListParams::default().fields(&selector))
        .await;
    let found = found.with_context(|| format!("KeyMaterials in {operator} cannot be listed"))?;
    let mut found = found.items;
    found.retain(|material| material.spec.destroyed.is_none());
    found.sort_by_key(|material| material.spec.parked_since.is_some());
    let first = found.into_iter().next();
    first.with_context(|| format!("there is no key {namespace}/{name}"))
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

    fn manifest(spec: &str) -> ManagedKey {
        let text = format!(
            "apiVersion: keystead.dev/v1alpha1\nkind: ManagedKey\nmetadata: {{namespace: shop, name: orders}}\nspec: {spec}\n"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    fn explained(spec: &str, user: &str, action: &str) -> Decision {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            explain: Explain,
        }
        let line = ["explain", "-f", "-", "--as", user, "--action", action];
        let args = <Line as clap::Parser>::parse_from(line).explain;
        let key = manifest(spec);
        let place = place_of(&key);
        let rules = rules_of_manifest(&key, &place).unwrap();
        let uid = namespace_of_user(user).map(offline_uid);
        let action = super::action(action).unwrap();
        decided(&args, &rules, action, &Context::new(), uid, Rbac::NotAsked).unwrap()
    }

    const POLICY: &str = "{policy: {delegateToRBAC: false, statements: [{sid: farm, effect: Allow, \
                          principals: {namespaces: [farm]}, actions: [Decrypt]}]}}";

    #[test]
    fn a_manifest_is_explained_without_a_cluster() {
        let cow = explained(POLICY, "system:serviceaccount:farm:cow", "Decrypt");
        assert!(cow.allow && cow.reason.to_string().contains("statement 0 (farm)"));
        assert!(explained(POLICY, "keystead:secret:farm:db", "Decrypt").allow);
        assert!(!explained(POLICY, "keystead:secret:farm:db", "GenerateDataKey").allow);
        assert!(explained(POLICY, "keystead:secret:shop:db", "GenerateDataKey").allow);
        assert!(!explained(POLICY, "ann", "Decrypt").allow);
    }

    #[test]
    fn without_a_cluster_what_only_rbac_knows_stays_open() {
        let decision = explained("{}", "ann", "Decrypt");
        assert!(decision.needs_rbac().is_some());
    }

    #[test]
    fn a_word_that_is_no_action_or_pair_is_refused_with_what_there_is() {
        let error = action("decrypt").unwrap_err().to_string();
        assert!(error.contains("GenerateDataKey"), "{error}");
        assert!(context(&["team".to_owned()]).is_err());
        assert_eq!(context(&["a=b=c".to_owned()]).unwrap()["a"], "b=c");
    }
}
