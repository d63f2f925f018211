//! `kubectl keystead rotation`: when secrets are rotated, how far it is, and the last rotations.

use std::io;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::objects::{self, Describe, Kind, List, Writing, change, get};
use super::output::{Fields, age, readiness};
use crate::api::names::{ANNOTATION_CANCEL_ROTATION, ANNOTATION_ROTATE, ANNOTATION_TEST_ROTATION};
use crate::api::rotation_schedule::PastRotation;
use crate::api::{DatabaseUsers, RotationSchedule, RotationScheduleSpec, RotationStep};

/// Arguments of `rotation`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List schedules.
    List(List),
    /// Say how far the rotation of a schedule is, when the next one is, and how the last ones went.
    Status(Describe),
    /// Rotate once, now.
    Now(Named),
    /// Try the stored value on the other side, now. Changes nothing.
    Test(Named),
    /// Cancel the rotation that is under way, if its value is not current yet: the value before stays, and the other side takes it.
    Cancel(Named),
    /// Begin no rotation on schedule any more; one that has begun goes on.
    Suspend(Named),
    /// Obey the schedule again.
    Resume(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Name of the schedule.
    name: String,
    #[command(flatten)]
    writing: Writing,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = args.connection.open().await?;
    let mut out = io::stdout().lock();
    let out = &mut out;
    let annotated =
        |annotation: &str, value: &str| json!({"metadata": {"annotations": {annotation: value}}});
    // A copy of the manifest with such a token does nothing: every token counts once.
    let token = Timestamp::now().to_string();
    let (named, patch, done) = match args.command {
        Command::List(list) => {
            return objects::list::<RotationSchedule>(&cluster, &list, out).await;
        }
        Command::Status(describe) => {
            return objects::describe::<RotationSchedule>(&cluster, &describe, out).await;
        }
        Command::Now(named) => {
            let patch = annotated(ANNOTATION_ROTATE, &token);
            (named, patch, "is asked to rotate")
        }
        Command::Test(named) => {
            let patch = annotated(ANNOTATION_TEST_ROTATION, &token);
            (named, patch, "is asked to try the stored value")
        }
        Command::Cancel(named) => {
            let schedule: RotationSchedule = get(&cluster, &named.name).await?;
            let version = under_way(&schedule)?;
            let patch = annotated(ANNOTATION_CANCEL_ROTATION, version);
            (named, patch, "is asked to cancel its rotation")
        }
        Command::Suspend(named) => (named, json!({"spec": {"suspend": true}}), "suspended"),
        Command::Resume(named) => (named, json!({"spec": {"suspend": null}}), "resumed"),
    };
    let schedule: RotationSchedule = get(&cluster, &named.name).await?;
    change(&cluster, &schedule, patch, done, named.writing, out).await
}

/// The pending version of the rotation that is under way.
fn under_way(schedule: &RotationSchedule) -> Result<&str, Failure> {
    let status = schedule.status.as_ref();
    let running = status.and_then(|status| status.running.as_ref());
    let running = running.ok_or_else(|| Failure::error("no rotation is under way"))?;
    if running.step == RotationStep::FinishSecret {
        return Err(Failure::error(format!(
            "version {} is current already: go back with `kubectl keystead secret rollback`",
            running.version
        )));
    }
    Ok(&running.version)
}

impl Kind for RotationSchedule {
    const COLUMNS: &'static [&'static str] = &[
        "SECRET", "STRATEGY", "WHEN", "READY", "REASON", "STEP", "NEXT", "AGE",
    ];

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let [ready, reason] = readiness(&status.conditions);
        let step = status.running.map(|running| running.step.as_str());
        let next = status.next_rotation_time.map(|next| next.0.to_string());
        vec![
            self.spec.secret_ref.name.clone(),
            strategy(&self.spec),
            when(&self.spec),
            ready,
            reason,
            step.unwrap_or_default().to_owned(),
            next.unwrap_or_default(),
            age(self, now),
        ]
    }

    fn describe(&self, fields: &mut Fields) {
        let status = self.status.clone().unwrap_or_default();
        fields.add("Secret", &self.spec.secret_ref.name);
        fields.add("Strategy", strategy(&self.spec));
        fields.add("When", when(&self.spec));
        if let Some(running) = &status.running {
            fields.add("Under way", running.step.as_str());
            fields.add("  version", &running.version);
            fields.add("  since", running.begun.0.to_string());
            fields.maybe("  attempts", running.attempts);
            fields.maybe("  refused values", running.refused_values);
        }
        fields.maybe("Last", status.last_rotation_time.map(|time| time.0));
        fields.maybe("Next", status.next_rotation_time.map(|time| time.0));
        fields.maybe("Missed", status.missed);
        if let Some(check) = &status.check {
            let why = check.message.as_ref();
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let (time, result) = (check.time.0, check.result.as_str());
            fields.add("Tried", format!("{time}, {result}{why}"));
        }
        for past in &status.history {
            fields.add(&format!("  {}", past.begun.0), told(past));
        }
        fields.conditions(&status.conditions);
    }
}

/// How a rotation went: how long until its version was current, and until it ended.
fn told(past: &PastRotation) -> String {
    let after = |time: Timestamp| time.duration_since(past.begun.0);
    let stalled = past.stalled.unwrap_or_default();
    let stalled = if stalled {
        ", pods were left behind"
    } else {
        ""
    };
    let Some(promoted) = &past.promoted else {
        return format!(
            "{}, cancelled after {:#}",
            past.version,
            after(past.ended.0)
        );
    };
    format!(
        "{}, current after {:#}, ended after {:#}{stalled}",
        past.version,
        after(promoted.0),
        after(past.ended.0)
    )
}

fn strategy(spec: &RotationScheduleSpec) -> String {
    let strategy = spec.strategy.chosen();
    let name = strategy.name();
    match strategy.users() {
        None => name.to_owned(),
        Some(DatabaseUsers::Single) => format!("{name}, one user"),
        Some(DatabaseUsers::Alternating) => format!("{name}, alternating users"),
    }
}

fn when(spec: &RotationScheduleSpec) -> String {
    let when = match &spec.schedule {
        None => "when asked".to_owned(),
        Some(times) => match (&times.every, &times.cron) {
            (Some(every), _) => format!("every {every}"),
            (None, cron) => format!(
                "{} {}",
                cron.as_deref().unwrap_or_default(),
                times.time_zone.as_deref().unwrap_or("UTC")
            ),
        },
    };
    if spec.suspend.unwrap_or_default() {
        format!("{when}, suspended")
    } else {
        when
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(spec: &serde_json::Value) -> RotationScheduleSpec {
        let mut whole = json!({"secretRef": {"name": "db"}, "strategy": {"regenerate": {}}});
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn when_and_how_is_said_in_words() {
        let weekly = json!({"schedule": {"cron": "30 2 * * 0", "timeZone": "Europe/Berlin"}, "suspend": true});
        assert_eq!(when(&spec(&weekly)), "30 2 * * 0 Europe/Berlin, suspended");
        assert_eq!(
            when(&spec(&json!({"schedule": {"every": "720h"}}))),
            "every 720h"
        );
        assert_eq!(when(&spec(&json!({}))), "when asked");
        assert_eq!(strategy(&spec(&json!({}))), "regenerate");
        let two = json!({"strategy": {"postgres": {"users": "Alternating", "adminSecretRef": {"name": "a"}}}});
        assert_eq!(strategy(&spec(&two)), "postgres, alternating users");
        let one = json!({"strategy": {"mysql": {"users": "Single"}}});
        assert_eq!(strategy(&spec(&one)), "mysql, one user");
    }

    #[test]
    fn a_past_rotation_tells_how_long_it_took() {
        let past = serde_json::from_value(json!({
            "version": "v", "begun": "2026-01-01T00:00:00Z", "promoted": "2026-01-01T00:00:03Z",
            "ended": "2026-01-01T01:00:03Z", "stalled": true,
        }));
        assert_eq!(
            told(&past.unwrap()),
            "v, current after 3s, ended after 1h 3s, pods were left behind"
        );
        let past = serde_json::from_value(json!({
            "version": "v", "begun": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:00:03Z", "cancelled": true,
        }));
        assert_eq!(told(&past.unwrap()), "v, cancelled after 3s");
    }

    #[test]
    fn only_a_rotation_whose_value_is_not_current_can_be_cancelled() {
        let schedule = |status: serde_json::Value| -> RotationSchedule {
            serde_json::from_value(json!({
                "apiVersion": "keystead.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": "db"},
                "spec": {"secretRef": {"name": "db"}, "strategy": {"regenerate": {}}}, "status": status,
            }))
            .unwrap()
        };
        let running = |step: &str| {
            schedule(
                json!({"running": {"version": "v", "step": step, "begun": "2026-01-01T00:00:00Z"}}),
            )
        };
        assert_eq!(under_way(&running("SetSecret")).unwrap(), "v");
        let current = under_way(&running("FinishSecret")).unwrap_err();
        assert!(current.message.contains("rollback"), "{}", current.message);
        assert!(under_way(&schedule(json!({}))).is_err());
    }
}
