//! A stage that a call moves: a kept version is made current again, or what is pending is given up.

use k8s_openapi::jiff::Timestamp;

use super::super::super::observe::Observed;
use super::super::super::step::internal;
use super::super::back::conflict;
use super::super::value::{Next, Wanted};
use super::seen::ChangeSeen;
use super::{Decided, NotDone, running};
use crate::api::{ChangedStage, MoveStage};
use crate::crypto::Random;
use crate::secrets::{Manifest, Stage, VersionId};

/// Moves a stage, or takes it away.
pub(super) fn change<'a>(
    next: &mut Next<'a>,
    seen: &'a Observed,
    wanted: &Wanted<'_>,
    (moved, asked): (&MoveStage, &'a ChangeSeen),
    now: Timestamp,
    random: &mut dyn Random,
) -> Decided {
    match (moved.stage, &moved.move_to_version_id) {
        (ChangedStage::Current, Some(to)) => {
            let from = moved.remove_from_version_id.as_deref();
            make_current(next, seen, wanted, (to, from, asked), now, random)
        }
        (ChangedStage::Pending, None) => {
            let from = moved.remove_from_version_id.as_deref();
            give_up(&mut next.manifest, from.unwrap_or_default())
        }
        // The server refuses both before.
        (ChangedStage::Current, None) => Err(NotDone::parameter(
            "AWSCURRENT can be moved and not taken away: name MoveToVersionId",
        )),
        (ChangedStage::Pending, Some(_)) => Err(NotDone::parameter(
            "AWSPENDING is given by a rotation only: it can be taken away, by RemoveFromVersionId",
        )),
    }
}

/// Makes a kept version current, if the spec would leave it as it is. Whoever moves a stage names the version that has it (AWS API
/// reference, `UpdateSecretVersionStage`, `RemoveFromVersionId`), but one that is there already is not moved.
fn make_current<'a>(
    next: &mut Next<'a>,
    seen: &'a Observed,
    wanted: &Wanted<'_>,
    (to, from, asked): (&str, Option<&str>, &'a ChangeSeen),
    now: Timestamp,
    random: &mut dyn Random,
) -> Decided {
    let version = kept(&next.manifest, to)?;
    let current = next.manifest.current().map(|current| current.id.clone());
    if current.as_ref() == Some(&version) {
        return Ok(version);
    }
    if running(&next.manifest).is_some() {
        return Err(NotDone::request(
            "a rotation is under way: it makes its version current itself, after TestSecret",
        ));
    }
    let current = current.map(String::from).unwrap_or_default();
    if from != Some(&*current) {
        return Err(NotDone::parameter(format!(
            "RemoveFromVersionId must be the version that is AWSCURRENT now: {current}"
        )));
    }
    let earlier = match &asked.kept {
        Some(Ok(earlier)) => earlier,
        Some(Err(_)) => return Err(NotDone::unreadable()),
        None => return Err(NotDone::missing(to)),
    };
    let record = next.manifest.version(&version);
    if let Some(conflict) = conflict(earlier, record, wanted, seen, now, random) {
        return Err(NotDone::request(format!(
            "the spec asks for other than that version has: {conflict}; change the spec first"
        )));
    }
    let promoted = next.manifest.promote(&version);
    promoted.map_err(|error| internal(&error))?;
    next.stored = Some(earlier);
    Ok(version)
}

/// Takes `Pending` from a version. What nobody has is taken away already.
fn give_up(manifest: &mut Manifest, from: &str) -> Decided {
    let version = kept(manifest, from)?;
    let Some(pending) = manifest.staged(&Stage::Pending) else {
        return Ok(version);
    };
    if pending.id != version {
        return Err(NotDone::parameter(format!(
            "RemoveFromVersionId must be the version that is AWSPENDING now: {}",
            pending.id
        )));
    }
    if running(manifest).is_some() {
        return Err(NotDone::request(
            "a rotation is under way: cancel it by the annotation keystead.dev/cancel-rotation of the RotationSchedule",
        ));
    }
    let cancelled = manifest.cancel_pending(&version);
    cancelled.map_err(|error| internal(&error))?;
    Ok(version)
}

/// The version of that id, if it is kept.
fn kept(manifest: &Manifest, id: &str) -> Result<VersionId, NotDone> {
    let version = id.parse().ok();
    let version = version.filter(|version| manifest.version(version).is_some());
    version.ok_or_else(|| NotDone::missing(id))
}
