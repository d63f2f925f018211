//! `kubectl keystead policy`: what policies and grants decide, and whether a policy is one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use k8s_openapi::jiff::Timestamp;

use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::report;
use crate::api::{ManagedKey, ManagedSecret};
use crate::cli::policy::{
    Explain, Manifest, answer, groups_of, place_of, read_any, rules_of_manifest,
};
use crate::policy::{
    Basis, Principal, Rbac, check_policy, check_secret_policy, lockout_check, namespace_of_user,
};

/// Arguments of `policy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say whether somebody may do something with a key, or read a secret by the API, and why. Exit code 0: he may; 1: he may not; 2: it cannot be said.
    Explain(Box<InCluster>),
    /// Check the policy in a manifest, before it is applied. No cluster is asked. Exit code 0: it can be applied; 1: it cannot.
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct InCluster {
    #[command(flatten)]
    explain: Explain,
    /// The kubeconfig file; default those in KUBECONFIG, or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; default the current one.
    #[arg(long, value_name = "NAME")]
    kube_context: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The manifest of a `ManagedKey` or `ManagedSecret`.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Who will apply it: whether he could still change the policy of a key then.
    #[arg(long = "author", value_name = "USER")]
    author: Option<String>,
    /// A group of the author; can be given several times.
    #[arg(long = "author-group", value_name = "GROUP", requires = "author")]
    groups: Vec<String>,
}

pub(crate) async fn run(args: Args) -> ExitCode {
    match args.command {
        Command::Explain(args) => {
            let connection = Connection::of(args.kubeconfig, args.kube_context);
            let client = async { Ok(connection.open().await?.client) };
            answer(&args.explain, client).await
        }
        Command::Check(args) => report(check(&args, &mut io::stdout().lock())),
    }
}

fn check(args: &Check, out: &mut impl Write) -> Result<Exit, Failure> {
    let manifest = read_any(&args.file).map_err(|error| Failure::error(format!("{error:#}")))?;
    let problems = match manifest {
        Manifest::Key(key) => problems(&key, args)?,
        Manifest::Secret(secret) => problems_of_secret(&secret),
    };
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    if !problems.is_empty() {
        return Ok(Exit::No);
    }
    writeln!(
        out,
        "the policy can be read, and nobody that was asked about is locked out"
    )?;
    Ok(Exit::Ok)
}

/// What is wrong with the secret's policy. Nobody is locked out by it: who may change it, RBAC decides.
fn problems_of_secret(secret: &ManagedSecret) -> Vec<String> {
    let policy = secret.spec.policy.as_ref();
    let problem = policy.and_then(|policy| check_secret_policy(policy).err());
    problem.iter().map(ToString::to_string).collect()
}

/// What is wrong with the key's policy.
fn problems(key: &ManagedKey, args: &Check) -> Result<Vec<String>, Failure> {
    let Some(policy) = &key.spec.policy else {
        return Ok(Vec::new());
    };
    if let Err(error) = check_policy(policy) {
        return Ok(vec![error.to_string()]);
    }
    let bypass = key.spec.bypass_policy_lockout_safety_check == Some(true);
    let Some(author) = args.author.as_ref().filter(|_| !bypass) else {
        return Ok(Vec::new());
    };
    let rules = rules_of_manifest(key, &place_of(key))
        .map_err(|error| Failure::error(format!("{error:#}")))?;
    // Without a cluster a namespace is known by its name.
    let uid = namespace_of_user(author).map(str::to_owned);
    let author = Principal::user(author.clone(), groups_of(author, &args.groups), uid)
        .map_err(|error| Failure::error(error.to_string()))?;
    let locked = lockout_check(&rules, &author, Rbac::NotAsked, Timestamp::now());
    Ok(match locked {
        // The cluster asks RBAC then.
        Ok(()) => Vec::new(),
        Err(lockout) if matches!(lockout.reason, Basis::NeedsRbac(_)) => Vec::new(),
        Err(lockout) => vec![lockout.to_string()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(policy: serde_json::Value, author: Option<&str>) -> Vec<String> {
        let mut spec = serde_json::json!({});
        spec["policy"] = policy;
        let mut key = ManagedKey::new("orders", serde_json::from_value(spec).unwrap());
        key.metadata.namespace = Some("shop".to_owned());
        let args = Check {
            file: PathBuf::new(),
            author: author.map(str::to_owned),
            groups: Vec::new(),
        };
        problems(&key, &args).unwrap()
    }

    #[test]
    fn a_policy_is_checked_without_a_cluster() {
        let statement = |action: &str| {
            serde_json::json!({"delegateToRBAC": false, "statements": [
                {"effect": "Allow", "principals": {"users": ["ann"]}, "actions": [action]}]})
        };
        for (policy, author, part) in [
            (statement("PutKeyPolicy"), Some("ann"), None),
            (statement("PutKeyPolicy"), None, None),
            (
                statement("PutKeyPolicy"),
                Some("bob"),
                Some("could not change it"),
            ),
            (statement("Nothing*"), None, Some("statements[0].actions")),
            (serde_json::json!({}), Some("bob"), None),
        ] {
            let problems = checked(policy, author);
            match part {
                None => assert_eq!(problems, [""; 0], "{author:?}"),
                Some(part) => assert!(problems[0].contains(part), "{problems:?}"),
            }
        }
    }
}
