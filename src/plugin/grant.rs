//! `kubectl keystead grant`: rights to use a key, given to one principal.

use std::collections::BTreeMap;
use std::io;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::objects::{self, Describe, Kind, List, Writing, create, delete, get};
use super::output::{Fields, age, readiness};
use crate::api::key_grant::GrantedKey;
use crate::api::{GrantConstraints, GrantOperation, KeyGrant, KeyGrantSpec};
use crate::cli::words::{duration, pair};

/// Arguments of `grant`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List grants.
    List(List),
    /// Say all that is known of a grant.
    Describe(Describe),
    /// Give a principal the right to use a key, for a time if wanted.
    Create(Box<Create>),
    /// Take the right away.
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Name of the grant.
    name: String,
    /// Name of the key.
    #[arg(long)]
    key: String,
    /// Who gets the right: a user name, `system:serviceaccount:NAMESPACE:NAME`, or `keystead:secret:NAMESPACE:NAME`.
    #[arg(long, value_name = "PRINCIPAL")]
    grantee: String,
    /// Who may give it back: a user name.
    #[arg(long, value_name = "PRINCIPAL")]
    retiring: Option<String>,
    /// What he may do: names of AWS KMS calls, such as Decrypt, separated by commas.
    #[arg(long, value_delimiter = ',', required = true, value_parser = operation)]
    operations: Vec<GrantOperation>,
    /// For how long: 90m, 8h, 7d. The grant itself holds the instant.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "expires_at")]
    ttl: Option<SignedDuration>,
    /// Until when (RFC 3339).
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// A pair that the encryption context has; can be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    context_subset: Vec<(String, String)>,
    /// A pair of the encryption context, which has no others; can be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    context_equals: Vec<(String, String)>,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Name of the grant.
    name: String,
    #[command(flatten)]
    writing: Writing,
}

fn operation(name: &str) -> Result<GrantOperation, String> {
    serde_json::from_value(json!(name)).map_err(|error| error.to_string())
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = args.connection.open().await?;
    let mut out = io::stdout().lock();
    match args.command {
        Command::List(list) => objects::list::<KeyGrant>(&cluster, &list, &mut out).await,
        Command::Describe(args) => objects::describe::<KeyGrant>(&cluster, &args, &mut out).await,
        Command::Create(args) => {
            let mut grant = grant(&args, Timestamp::now())?;
            grant.metadata.namespace = Some(cluster.namespace.clone());
            create(&cluster, &grant, args.writing, &mut out).await
        }
        Command::Delete(args) => {
            let grant: KeyGrant = get(&cluster, &args.name).await?;
            delete(&cluster, &grant, "deleted", args.writing, &mut out).await
        }
    }
}

/// The grant that is asked for.
fn grant(args: &Create, now: Timestamp) -> Result<KeyGrant, Failure> {
    let expires = match args.ttl {
        Some(ttl) => {
            let end = now.checked_add(ttl);
            Some(end.map_err(|_| Failure::error("--ttl ends after the end of time"))?)
        }
        None => args.expires_at,
    };
    if expires.is_some_and(|end| end <= now) {
        return Err(Failure::error(
            "the grant would be expired already: give a later --expires-at, or a --ttl",
        ));
    }
    let pairs = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
    let constraints = GrantConstraints {
        encryption_context_equals: (!args.context_equals.is_empty())
            .then(|| pairs(&args.context_equals)),
        encryption_context_subset: pairs(&args.context_subset),
    };
    let spec = KeyGrantSpec {
        key_ref: GrantedKey {
            name: args.key.clone(),
        },
        grantee_principal: args.grantee.clone(),
        retiring_principal: args.retiring.clone(),
        operations: args.operations.clone(),
        constraints: (constraints != GrantConstraints::default()).then_some(constraints),
        expires_at: expires.map(Time),
    };
    Ok(KeyGrant::new(&args.name, spec))
}

impl Kind for KeyGrant {
    const COLUMNS: &'static [&'static str] = &[
        "KEY",
        "GRANTEE",
        "OPERATIONS",
        "READY",
        "REASON",
        "EXPIRES",
        "AGE",
    ];

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let [ready, reason] = readiness(&status.conditions);
        vec![
            self.spec.key_ref.name.clone(),
            self.spec.grantee_principal.clone(),
            operations(&self.spec),
            ready,
            reason,
            expiry(&self.spec),
            age(self, now),
        ]
    }

    fn describe(&self, fields: &mut Fields) {
        let status = self.status.clone().unwrap_or_default();
        fields.add("Key", &self.spec.key_ref.name);
        fields.maybe("Key id", status.key_id);
        fields.add("Grantee", &self.spec.grantee_principal);
        fields.maybe("Retiring", self.spec.retiring_principal.as_ref());
        fields.add("Operations", operations(&self.spec));
        fields.add("Expires", expiry(&self.spec));
        if let Some(constraints) = &self.spec.constraints {
            let told = |pairs: &BTreeMap<String, String>| {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                pairs.join(",")
            };
            let equals = constraints.encryption_context_equals.as_ref();
            fields.maybe("Context equals", equals.map(told));
            fields.add("Context has", told(&constraints.encryption_context_subset));
        }
        fields.conditions(&status.conditions);
    }
}

fn operations(spec: &KeyGrantSpec) -> String {
    let names: Vec<_> = spec.operations.iter().map(|o| format!("{o:?}")).collect();
    names.join(",")
}

fn expiry(spec: &KeyGrantSpec) -> String {
    spec.expires_at
        .as_ref()
        .map_or_else(|| "never".to_owned(), |time| time.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Result<KeyGrant, Failure> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            create: Create,
        }
        let base = ["create", "g", "--key", "orders", "--grantee", "ann"];
        let line = [&base[..], &["--operations", "Decrypt,Encrypt"], args].concat();
        let line = <Line as clap::Parser>::try_parse_from(line);
        let line = line.map_err(|error| Failure::error(error.to_string()))?;
        grant(&line.create, "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_ttl_becomes_an_instant() {
        let spec = asked(&["--ttl", "8h"]).unwrap().spec;
        assert_eq!(expiry(&spec), "2026-01-01T08:00:00Z");
        assert_eq!(operations(&spec), "Decrypt,Encrypt");
        assert_eq!(spec.constraints, None);
        assert_eq!(expiry(&asked(&[]).unwrap().spec), "never");
    }

    #[test]
    fn a_grant_that_would_be_expired_is_not_made() {
        let failure = asked(&["--expires-at", "2025-12-31T23:59:59Z"]).unwrap_err();
        assert!(failure.message.contains("expired"), "{failure}");
        assert!(asked(&["--ttl", "8"]).is_err());
        let both = ["--ttl", "8h", "--expires-at", "2027-01-01T00:00:00Z"];
        assert!(asked(&both).is_err());
    }

    #[test]
    fn an_operation_that_is_none_is_refused_with_what_there_is() {
        let error = operation("decrypt").unwrap_err();
        assert!(error.contains("GenerateDataKey"), "{error}");
    }

    #[test]
    fn pairs_of_the_context_are_constraints() {
        let spec = asked(&["--context-subset", "team=orders"]).unwrap().spec;
        let constraints = spec.constraints.unwrap();
        assert_eq!(constraints.encryption_context_subset["team"], "orders");
        assert_eq!(constraints.encryption_context_equals, None);
    }
}
