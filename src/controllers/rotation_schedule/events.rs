//! An Event for each step of a rotation, as people follow it. Best effort, and told again after a crash: the history in the status is
//! what counts.

use kube::Resource;
use kube::runtime::events::EventType;

use super::observe::Observed;
use super::outside::Errand;
use crate::api::Reason;
use crate::controllers::context::Context;
use crate::controllers::rotations::{Asked, Change};
use crate::rotation::rotator::Outcome;
use crate::secrets::SecretRotation;

/// What is said of a step.
type Said = (EventType, Reason, String);

/// Says what is asked of the secret's controller.
pub(super) async fn asked(asked: &Asked, seen: &Observed, ctx: &Context) {
    if let Some(said) = of_asked(asked) {
        publish(said, seen, ctx).await;
    }
}

/// Says what an errand came to.
pub(super) async fn answered(errand: &Errand, answer: &Outcome, seen: &Observed, ctx: &Context) {
    if seen.schedule.spec.strategy.chosen().has_other_side() {
        for said in of_answer(errand, answer) {
            publish(said, seen, ctx).await;
        }
    }
}

fn of_asked(asked: &Asked) -> Option<Said> {
    let normal = |reason, note: String| Some((EventType::Normal, reason, note));
    let last = asked.record.history.last();
    match &asked.change {
        // Without its id, which is another one whenever it is decided anew.
        Change::Create { .. } => normal(Reason::CreateSecret, "a new value is made".to_owned()),
        Change::Promote(version) => normal(
            Reason::FinishSecret,
            format!("version {version} becomes current"),
        ),
        // Otherwise another one takes its place.
        Change::Cancel(version) if asked.record.running.is_none() => normal(
            Reason::RotationCancelled,
            format!("version {version} does not become current"),
        ),
        Change::Cancel(_) => None,
        Change::Record if is_stored_by_code(&asked.record) => {
            normal(Reason::CreateSecret, "a new value is stored".to_owned())
        }
        Change::Record => last
            .filter(|last| asked.record.running.is_none() && last.promoted.is_some())
            .map(|last| {
                let version = &last.version;
                if last.stalled {
                    let note = format!("version {version} is current, and pods were left behind");
                    (EventType::Warning, Reason::FinishStalled, note)
                } else {
                    let note = format!("version {version} is current, and the rotation has ended");
                    (EventType::Normal, Reason::Rotated, note)
                }
            }),
    }
}

/// Whether somebody's own code has stored the value of the version that is under way, and nothing else is written down of it.
fn is_stored_by_code(record: &SecretRotation) -> bool {
    record.running.as_ref().is_some_and(|running| {
        running.created.is_some() && running.cancelled.is_none() && running.promoted.is_none()
    })
}

/// What does not succeed is said by the condition.
fn of_answer(errand: &Errand, answer: &Outcome) -> Vec<Said> {
    let normal = |reason, note: String| (EventType::Normal, reason, note);
    match (errand, answer) {
        (Errand::Carry(version), Outcome::Done) => vec![
            normal(
                Reason::SetSecret,
                format!("the other side has version {version}"),
            ),
            normal(Reason::TestSecret, format!("version {version} works there")),
        ],
        (Errand::Create(version) | Errand::Carry(version), Outcome::ValueRefused(why)) => {
            let note = format!("the other side refuses version {version}: {why}");
            vec![(EventType::Warning, Reason::ValueRefused, note)]
        }
        (Errand::Check(Some(_)), Outcome::Done) => {
            vec![normal(
                Reason::TestSecret,
                "the current version works there".to_owned(),
            )]
        }
        _ => Vec::new(),
    }
}

async fn publish((type_, reason, note): Said, seen: &Observed, ctx: &Context) {
    let about = seen.schedule.object_ref(&());
    ctx.event(&about, type_, reason, note).await;
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::secrets::manifest::Rotated;
    use crate::secrets::testing::IDS;
    use crate::secrets::{Substitutes, VersionId};

    fn id() -> VersionId {
        IDS[0].parse().unwrap()
    }

    fn reason(change: Change, history: Vec<Rotated>) -> Option<&'static str> {
        let record = SecretRotation {
            history,
            ..SecretRotation::new(Timestamp::UNIX_EPOCH)
        };
        let asked = Asked {
            sequence: 1,
            record,
            change,
        };
        of_asked(&asked).map(|(_, reason, _)| reason.as_str())
    }

    #[test]
    fn every_step_is_told_by_its_name_and_a_mere_note_is_not() {
        let create = Change::Create {
            version: id(),
            substitutes: Substitutes::new(),
        };
        assert_eq!(reason(create, Vec::new()), Some("CreateSecret"));
        let told = of_answer(&Errand::Carry(id()), &Outcome::Done);
        let told: Vec<_> = told.iter().map(|(_, reason, _)| reason.as_str()).collect();
        assert_eq!(told, ["SetSecret", "TestSecret"]);
        let promote = Change::Promote(id());
        assert_eq!(reason(promote, Vec::new()), Some("FinishSecret"));
        assert_eq!(reason(Change::Record, Vec::new()), None);
        let ended = |promoted, stalled| Rotated {
            version: id(),
            begun: Timestamp::UNIX_EPOCH,
            promoted,
            ended: Timestamp::UNIX_EPOCH,
            stalled,
        };
        let now = Some(Timestamp::UNIX_EPOCH);
        let record = |ended| reason(Change::Record, vec![ended]);
        assert_eq!(record(ended(now, false)), Some("Rotated"));
        assert_eq!(record(ended(now, true)), Some("FinishStalled"));
        assert_eq!(record(ended(None, false)), None);
        let cancelled = reason(Change::Cancel(id()), Vec::new());
        assert_eq!(cancelled, Some("RotationCancelled"));
    }
}
