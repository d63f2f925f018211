//! `keystead root`: asks for a rotation of the root key, and shows how far it is. The work is the leader's; no root key ever
//! gets into this process.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Subcommand;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Config};

use crate::clock::{Clock as _, process_clock};
use crate::installation::{Changed, Phase, Record, Records, RootRotation};
use crate::keys::is_under;
use crate::roots::ProviderKind;
use crate::truth::KeyMaterials;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The operator's namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "keystead-system")]
    operator_namespace: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the current root key, and how far a rotation is.
    Status,
    /// Ask for another root key. The operator wraps all key material under it, online.
    Rotate(Rotate),
    /// Take a rotation back before anything is wrapped under the next root key, or keep an old root key that is about to be
    /// forgotten.
    Cancel,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// Where the next root key is; without it, where the current one is. `secret`: the operator makes it. `file`: you have
    /// put it into the operator's --root-file.
    #[arg(long, value_enum)]
    to_provider: Option<ProviderKind>,
    /// Remove the old root key a day after nothing is wrapped under it. Backups from before the rotation then open no more.
    #[arg(long)]
    forget_old: bool,
}

/// Why a request was not written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// One is under way.
    #[error(
        "a rotation is under way ({0}): wait for its end, or take it back with `keystead root cancel`"
    )]
    UnderWay(Phase),
    /// There is none.
    #[error("no rotation is under way")]
    None,
    /// It is too late.
    #[error(
        "key material is wrapped under the next root key already: wait for the end, then rotate again"
    )]
    TooLate,
    /// It is too late to keep the old root key.
    #[error("the old root key is being removed: there is no way back, wait for the end")]
    Removing,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::infer().await.context("no access to a cluster")?;
    let client = Client::try_from(config).context("the client could not be made")?;
    let records = Records::new(client.clone(), &args.operator_namespace);
    match args.command {
        Command::Status => {
            let record = records.get().await?;
            let materials = KeyMaterials::new(client, &args.operator_namespace);
            let all = materials.all().await.context("list KeyMaterials")?;
            let under = all.iter().filter(|truth| is_under(truth, record.root));
            print!("{}", status(&record, under.count(), all.len()));
        }
        Command::Rotate(asked) => {
            let now = process_clock().now();
            let asked = records.change(|record| request(record, &asked, now));
            let (Changed::Written(record) | Changed::AsItWas(record)) = asked.await??;
            println!(
                "asked for a rotation from root key {}; follow it with `keystead root status`",
                record.root
            );
        }
        Command::Cancel => {
            records.change(cancel).await??;
            println!("taken back");
        }
    }
    Ok(())
}

/// Writes the request into the record.
fn request(record: &mut Record, asked: &Rotate, now: Timestamp) -> Result<bool, Refusal> {
    if let Some(rotation) = &record.rotation {
        return Err(Refusal::UnderWay(rotation.phase));
    }
    record.objections.clear();
    record.rotation = Some(RootRotation {
        to: asked.to_provider,
        phase: Phase::Requested,
        since: now,
        from: record.root,
        next: None,
        forget_old: asked.forget_old,
        problem: None,
    });
    Ok(true)
}

/// Takes the rotation, or the forgetting of the old root key, out of the record.
fn cancel(record: &mut Record) -> Result<bool, Refusal> {
    let rotation = record.rotation.as_ref().ok_or(Refusal::None)?;
    match rotation.phase {
        Phase::Requested | Phase::Preparing | Phase::Distributing => {}
        Phase::Rewrapping => return Err(Refusal::TooLate),
        Phase::Forgetting => {
            let old = rotation.from;
            record.retire(old);
        }
        Phase::Removing => return Err(Refusal::Removing),
    }
    record.rotation = None;
    record.objections.clear();
    Ok(true)
}

/// What is said of the record, and of how many keys are wrapped under the current root key.
fn status(record: &Record, under: usize, all: usize) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<20}{value}");
    };
    line("current root key:", record.root.to_string());
    line(
        "key material:",
        format!("{under} of {all} keys are wrapped under it"),
    );
    for retired in &record.retired {
        line(
            "retired root key:",
            format!("{retired} (older backups need it)"),
        );
    }
    let Some(rotation) = &record.rotation else {
        line("rotation:", "none".to_owned());
        return text;
    };
    line(
        "rotation:",
        format!("{}, since {}", rotation.phase, rotation.since),
    );
    line("  from:", rotation.from.to_string());
    if let Some(next) = rotation.next {
        line("  to:", format!("{next} (back it up)"));
    }
    if rotation.forget_old {
        let fate = match rotation.phase {
            Phase::Removing => "is being removed",
            _ => "is removed a day after nothing is wrapped under it",
        };
        line("  the old one:", fate.to_owned());
    }
    if let Some(problem) = &rotation.problem {
        line("  waits:", problem.clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{InstallationId, OsRandom, RootKey};

    fn record() -> Record {
        let root = RootKey::generate(&mut OsRandom).unwrap().fingerprint();
        let region = "ks-local-1".parse().unwrap();
        Record::new(InstallationId::from_bytes([1; 16]), region, root)
    }

    fn rotating(phase: Phase) -> Record {
        let mut record = record();
        let asked = Rotate {
            to_provider: None,
            forget_old: true,
        };
        request(&mut record, &asked, "2026-01-02T03:04:05Z".parse().unwrap()).unwrap();
        record.rotation.as_mut().unwrap().phase = phase;
        record
    }

    #[test]
    fn one_rotation_is_asked_for_at_a_time() {
        let mut record = rotating(Phase::Rewrapping);
        let asked = Rotate {
            to_provider: Some(ProviderKind::File),
            forget_old: false,
        };
        let refused = request(&mut record, &asked, "2026-01-02T03:04:06Z".parse().unwrap());
        assert_eq!(refused, Err(Refusal::UnderWay(Phase::Rewrapping)));
    }

    #[test]
    fn a_rotation_is_taken_back_until_something_is_wrapped_under_the_next_root_key() {
        for phase in [Phase::Requested, Phase::Preparing, Phase::Distributing] {
            let mut record = rotating(phase);
            assert_eq!(cancel(&mut record), Ok(true));
            assert_eq!((record.rotation, record.retired.len()), (None, 0));
        }
        assert_eq!(
            cancel(&mut rotating(Phase::Rewrapping)),
            Err(Refusal::TooLate)
        );
        assert_eq!(cancel(&mut record()), Err(Refusal::None));
        // Nothing is under the old one any more, and it stays.
        let mut record = rotating(Phase::Forgetting);
        let old = record.rotation.as_ref().unwrap().from;
        record.root = self::record().root;
        assert_eq!(cancel(&mut record), Ok(true));
        assert_eq!((record.rotation, record.retired), (None, vec![old]));
    }

    #[test]
    fn an_old_root_key_that_is_being_removed_cannot_be_kept_any_more() {
        let mut record = rotating(Phase::Removing);
        let before = record.clone();
        assert_eq!(cancel(&mut record), Err(Refusal::Removing));
        assert_eq!(record, before);
        assert!(status(&record, 1, 1).contains("is being removed"));
    }

    #[test]
    fn the_status_tells_how_many_keys_are_done_and_what_holds_it_up() {
        let mut record = rotating(Phase::Distributing);
        record.rotation.as_mut().unwrap().problem = Some("no such file".to_owned());
        let text = status(&record, 3, 50);
        for part in [
            "3 of 50",
            "Distributing",
            "no such file",
            &record.root.to_string(),
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
