//! `kubectl keystead secret`: secrets, their versions, and what their users do with them.

mod get;
mod life;
mod pods;
mod versions;

use std::fmt::Write;
use std::io;

use k8s_openapi::jiff::Timestamp;

pub(crate) use self::get::text;
use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::objects::{self, Describe, Kind, List};
use super::output::{Fields, age, readiness};
use crate::api::ManagedSecret;
use crate::api::managed_secret::{ConsumersStatus, Form};

/// Arguments of `secret`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List secrets.
    List(List),
    /// Say all that is known of a secret. Never a value.
    Describe(Describe),
    /// List the kept versions of a secret.
    Versions(versions::Versions),
    /// List the pods that get a secret by the node plugin, and which version each of them has.
    Pods(pods::Pods),
    /// Make a kept version the current one again.
    Rollback(versions::Rollback),
    /// List the keys of a secret with their sizes; with --reveal, their values.
    Get(get::Get),
    /// Bring a deleted secret back with the values that wait for it.
    Restore(life::Restore),
    /// Delete a secret. Its ciphertext waits, so that it can be restored.
    Delete(life::Delete),
    /// Make a replica a secret of its own, with the values that it has.
    Promote(life::Promote),
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = args.connection.open().await?;
    let mut out = io::stdout().lock();
    let out = &mut out;
    match args.command {
        Command::List(list) => objects::list::<ManagedSecret>(&cluster, &list, out).await,
        Command::Describe(args) => objects::describe::<ManagedSecret>(&cluster, &args, out).await,
        Command::Versions(args) => versions::list(&cluster, &args, out).await,
        Command::Pods(args) => pods::list(&cluster, &args, out).await,
        Command::Rollback(args) => versions::rollback(&cluster, &args, out).await,
        Command::Get(args) => get::run(&cluster, &args, out).await,
        Command::Restore(args) => life::restore(&cluster, &args, out).await,
        Command::Delete(args) => life::delete(&cluster, &args, out).await,
        Command::Promote(args) => life::promote(&cluster, &args, out).await,
    }
}

impl Kind for ManagedSecret {
    const COLUMNS: &'static [&'static str] = &[
        "KEYS", "VERSIONS", "FORM", "TARGET", "READY", "REASON", "AGE",
    ];

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let [ready, reason] = readiness(&status.conditions);
        let target = status.target_ref;
        vec![
            status.keys.len().to_string(),
            status.versions.len().to_string(),
            form(self).to_owned(),
            target.map(|target| target.name).unwrap_or_default(),
            ready,
            reason,
            age(self, now),
        ]
    }

    fn describe(&self, fields: &mut Fields) {
        let status = self.status.clone().unwrap_or_default();
        fields.maybe("Description", self.spec.description.as_ref());
        if let Some(key) = &self.spec.key_ref {
            let namespace = key.namespace.as_ref().map(|name| format!("{name}/"));
            let kind = key.kind.unwrap_or_default();
            let named = format!("{kind:?} {}{}", namespace.unwrap_or_default(), key.name);
            fields.add("Key", named);
        }
        fields.add("Keys", status.keys.join(", "));
        fields.add("Form", form(self));
        fields.maybe("Target", status.target_ref.map(|target| target.name));
        let former = status.former_targets.join(", ");
        fields.maybe(
            "Former targets",
            Some(former).filter(|names| !names.is_empty()),
        );
        fields.maybe("Pods", status.consumers.as_ref().map(summary));
        fields.maybe("Sequence", status.sequence);
        for version in &status.versions {
            let (stages, created) = (version.stages.join(","), &version.created.0);
            let mut text = format!("{stages} since {created}, under key {}", version.key_id);
            if let Some(pods) = pods_with(&version.id, status.consumers.as_ref()) {
                let _ = write!(text, ", pods: {pods}");
            }
            fields.add(&format!("  {}", version.id), text.trim_start());
        }
        fields.conditions(&status.conditions);
    }
}

/// How far the pods are.
fn summary(consumers: &ConsumersStatus) -> String {
    let ConsumersStatus {
        pods,
        up_to_date,
        unknown,
        ..
    } = consumers;
    let unknown = match unknown {
        0 => String::new(),
        unknown => format!(", {unknown} unknown"),
    };
    format!("{pods}, {up_to_date} up to date{unknown}")
}

/// How many pods have that version, as far as that is told.
fn pods_with(version: &str, consumers: Option<&ConsumersStatus>) -> Option<i64> {
    let consumers = consumers?;
    let mut versions = consumers.versions.iter();
    match versions.find(|one| one.id == version) {
        Some(found) => Some(found.pods),
        // It may be one of those.
        None if consumers.other_versions.is_some() => None,
        None => Some(0),
    }
}

/// The form that is asked for.
fn form(secret: &ManagedSecret) -> &'static str {
    let target = secret.spec.target.as_ref();
    match target.and_then(|target| target.form).unwrap_or_default() {
        Form::Sealed => "Sealed",
        Form::Plain => "Plain",
        Form::None => "None",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn consumers(told: Value) -> ConsumersStatus {
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn pods_are_told_in_one_line_and_by_version_as_far_as_that_is_known() {
        let versions = json!([{"id": "b", "pods": 2}]);
        let told = consumers(json!({"pods": 3, "upToDate": 2, "unknown": 1, "versions": versions}));
        assert_eq!(summary(&told), "3, 2 up to date, 1 unknown");
        let of = |version: &str, told: &ConsumersStatus| pods_with(version, Some(told));
        assert_eq!((of("b", &told), of("a", &told)), (Some(2), Some(0)));
        assert_eq!(pods_with("b", None), None);
        let more = json!({"pods": 4, "upToDate": 2, "unknown": 0, "versions": versions, "otherVersions": 2});
        let more = consumers(more);
        assert_eq!(summary(&more), "4, 2 up to date");
        assert_eq!((of("b", &more), of("a", &more)), (Some(2), None));
    }
}
