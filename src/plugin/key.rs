//! `kubectl keystead key`: keys, and what their administrators do with them. All of it is a change of the `ManagedKey`; the
//! cluster's policies decide whether you may.

use std::io;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::objects::{self, Describe, Kind, List, Writing, change, get, tell};
use super::output::{Fields, age, readiness};
use crate::api::names::ANNOTATION_ROTATE;
use crate::api::{KeyDeletion, KeyState, ManagedKey};

/// Arguments of `key`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List keys.
    List(List),
    /// Say all that is known of a key.
    Describe(Describe),
    /// Rotate a key now. What was encrypted before stays readable.
    Rotate(Named),
    /// Let a key be used again.
    Enable(Named),
    /// Refuse every use of a key, until it is enabled.
    Disable(Named),
    /// Schedule the end of a key. From now on every use is refused; at the date its material is destroyed, for good.
    ScheduleDeletion(ScheduleDeletion),
    /// Take a scheduled deletion back.
    CancelDeletion(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Name of the key.
    name: String,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, clap::Args)]
struct ScheduleDeletion {
    #[command(flatten)]
    key: Named,
    /// Days until the material is destroyed.
    #[arg(long, value_name = "DAYS", default_value_t = KeyDeletion::DEFAULT_WINDOW_DAYS,
          value_parser = clap::value_parser!(u8).range(7..=30))]
    days: u8,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = args.connection.open().await?;
    let mut out = io::stdout().lock();
    let out = &mut out;
    let (named, asked) = match args.command {
        Command::List(list) => return objects::list::<ManagedKey>(&cluster, &list, out).await,
        Command::Describe(describe) => {
            return objects::describe::<ManagedKey>(&cluster, &describe, out).await;
        }
        Command::Rotate(named) => (named, Asked::Rotate(Timestamp::now())),
        Command::Enable(named) => (named, Asked::Enabled(true)),
        Command::Disable(named) => (named, Asked::Enabled(false)),
        Command::ScheduleDeletion(schedule) => (schedule.key, Asked::Deletion(schedule.days)),
        Command::CancelDeletion(named) => (named, Asked::NoDeletion),
    };
    let key: ManagedKey = get(&cluster, &named.name).await?;
    match asked.change(&key) {
        Some((patch, done)) => change(&cluster, &key, patch, &done, named.writing, out).await,
        None => tell(&key, "unchanged", named.writing, out),
    }
}

/// What is asked of a key.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// A rotation, at this time.
    Rotate(Timestamp),
    /// Whether it may be used.
    Enabled(bool),
    /// Its end, after that many days.
    Deletion(u8),
    /// No end.
    NoDeletion,
}

impl Asked {
    /// The merge patch, and the words for it; `None` if the key is so already.
    fn change(self, key: &ManagedKey) -> Option<(serde_json::Value, String)> {
        match self {
            Self::Rotate(now) => {
                // A copy of the manifest with this token rotates nothing: every token counts once.
                let annotations = json!({ANNOTATION_ROTATE: now.to_string()});
                let patch = json!({"metadata": {"annotations": annotations}});
                Some((patch, "is asked to rotate".to_owned()))
            }
            Self::Enabled(enabled) if key.spec.enabled.unwrap_or(true) == enabled => None,
            Self::Enabled(enabled) => {
                let word = if enabled { "enabled" } else { "disabled" };
                Some((json!({"spec": {"enabled": enabled}}), word.to_owned()))
            }
            Self::Deletion(days) if window(key) == Some(days) => None,
            Self::Deletion(days) => {
                let patch = json!({"spec": {"deletion": {"pendingWindowDays": days}}});
                let word =
                    format!("is scheduled for deletion in {days} days, and refuses every use");
                Some((patch, word))
            }
            Self::NoDeletion if key.spec.deletion.is_none() => None,
            Self::NoDeletion => {
                let patch = json!({"spec": {"deletion": null}});
                Some((patch, "is not scheduled for deletion any more".to_owned()))
            }
        }
    }
}

fn window(key: &ManagedKey) -> Option<u8> {
    let deletion = key.spec.deletion.as_ref()?;
    Some(
        deletion
            .pending_window_days
            .unwrap_or(KeyDeletion::DEFAULT_WINDOW_DAYS),
    )
}

impl Kind for ManagedKey {
    const COLUMNS: &'static [&'static str] =
        &["STATE", "VERSION", "READY", "REASON", "SECRETS", "AGE"];

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let [ready, reason] = readiness(&status.conditions);
        let number = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
        vec![
            status.state.map(word).unwrap_or_default(),
            number(status.current_version),
            ready,
            reason,
            number(status.dependents.map(|dependents| dependents.secrets)),
            age(self, now),
        ]
    }

    fn describe(&self, fields: &mut Fields) {
        let status = self.status.clone().unwrap_or_default();
        fields.maybe("Description", self.spec.description.as_ref());
        fields.add("Key spec", self.spec.key_spec.unwrap_or_default().as_str());
        fields.add("Usage", self.spec.key_usage.unwrap_or_default().as_str());
        fields.add("Origin", self.spec.origin.unwrap_or_default().as_str());
        fields.maybe("State", status.state.map(word));
        fields.maybe("Key id", status.key_id);
        fields.maybe("ARN", status.arn);
        fields.maybe("Version", status.current_version);
        for version in &status.versions {
            let created = &version.created.0;
            let needed = version.references.unwrap_or_default();
            let text = format!(
                "{}, since {created}, needed by {needed}",
                version.material_id
            );
            fields.add(&format!("  {}", version.version), text);
        }
        fields.maybe("Next rotation", status.next_rotation_time.map(|t| t.0));
        fields.maybe("Destroyed after", status.deletion_time.map(|t| t.0));
        if let Some(used) = status.last_used {
            fields.add("Last used", format!("{} ({})", used.time.0, used.operation));
        }
        if let Some(dependents) = status.dependents {
            let (secrets, grants) = (dependents.secrets, dependents.grants);
            fields.add("Needed by", format!("{secrets} secrets, {grants} grants"));
        }
        fields.conditions(&status.conditions);
    }
}

fn word(state: KeyState) -> String {
    format!("{state:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(spec: serde_json::Value) -> ManagedKey {
        ManagedKey::new("orders", serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn what_is_so_already_is_not_written_again() {
        let now = Timestamp::UNIX_EPOCH;
        for (name, spec, asked, changes) in [
            ("enable", json!({}), Asked::Enabled(true), false),
            ("disable", json!({}), Asked::Enabled(false), true),
            (
                "again",
                json!({"enabled": false}),
                Asked::Enabled(false),
                false,
            ),
            (
                "back",
                json!({"enabled": false}),
                Asked::Enabled(true),
                true,
            ),
            ("schedule", json!({}), Asked::Deletion(30), true),
            (
                "same date",
                json!({"deletion": {}}),
                Asked::Deletion(30),
                false,
            ),
            ("nearer", json!({"deletion": {}}), Asked::Deletion(7), true),
            ("nothing to cancel", json!({}), Asked::NoDeletion, false),
            ("cancel", json!({"deletion": {}}), Asked::NoDeletion, true),
            ("rotate", json!({}), Asked::Rotate(now), true),
        ] {
            assert_eq!(asked.change(&key(spec)).is_some(), changes, "{name}");
        }
    }

    #[test]
    fn the_loss_that_was_accepted_is_not_accepted_again_by_another_window() {
        let accepted = key(json!({"deletion": {"pendingWindowDays": 7, "acceptDataLoss": 3}}));
        assert!(Asked::Deletion(7).change(&accepted).is_none());
        let (patch, _) = Asked::Deletion(9).change(&accepted).unwrap();
        // A merge patch leaves what it does not name.
        assert_eq!(
            patch,
            json!({"spec": {"deletion": {"pendingWindowDays": 9}}})
        );
    }
}
