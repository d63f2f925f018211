//! `kubectl keystead secret`: secrets, their versions, and what their users do with them.

mod get;
mod life;
mod versions;

use std::io;

use k8s_openapi::jiff::Timestamp;

pub(crate) use self::get::text;
use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::objects::{self, Describe, Kind, List};
use super::output::{Fields, age, readiness};
use crate::api::ManagedSecret;
use crate::api::managed_secret::Form;

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
        fields.maybe("Sequence", status.sequence);
        for version in &status.versions {
            let (stages, created) = (version.stages.join(","), &version.created.0);
            let text = format!("{stages} since {created}, under key {}", version.key_id);
            fields.add(&format!("  {}", version.id), text.trim_start());
        }
        fields.conditions(&status.conditions);
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
