//! Looks at everything that the plan for a schedule may depend on.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use sha2::{Digest, Sha256};

use super::consumers;
use super::outside::current_user;
use crate::api::{ManagedSecret, RotationSchedule};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::managed_secret::{opened, user_of};
use crate::controllers::parking::Presence;
use crate::controllers::uses::{KeyAccess, Uses};
use crate::rotation::machine::Consumers;
use crate::rotation::timing::{Timing, TimingError};
use crate::secrets::Manifest;
use crate::truth::Stored;

/// Everything that the plan may look at.
pub(super) struct Observed {
    /// The schedule.
    pub(super) schedule: Arc<RotationSchedule>,
    /// Its own number, by which it is put off.
    pub(super) seed: u64,
    /// What it says of times.
    pub(super) timing: Result<Timing, TimingError>,
    /// Another schedule of the same secret, which is obeyed instead.
    pub(super) elder: Option<String>,
    /// The secret.
    pub(super) secret: Option<Arc<ManagedSecret>>,
    /// What is stored of it, if that is its own and opens.
    pub(super) truth: Option<Truth>,
    /// The database user that it stands for now, where two take turns.
    pub(super) user: Option<Result<String, String>>,
    /// The pods that get it, looked at while they are waited for.
    pub(super) consumers: Option<Consumers>,
    /// Whether nothing may be rotated, since a restore is suspected.
    pub(super) held: bool,
    /// The uses of the secret's key.
    pub(super) uses: Uses,
}

/// What is stored of a secret.
pub(super) struct Truth {
    pub(super) stored: Stored,
    pub(super) manifest: Manifest,
}

/// Looks.
pub(super) async fn observe(
    schedule: Arc<RotationSchedule>,
    (schedules, secrets): &(Presence<RotationSchedule>, Presence<ManagedSecret>),
    ctx: &Context,
) -> Result<Observed, Error> {
    let object = ObjectRef::from_obj(&*schedule);
    // The index is told before each look, so that a change in between wakes the schedule again.
    ctx.rotations.follow(schedule.secret(), object);
    let secret = secrets.get(&schedule.secret());
    let mut seen = Observed {
        seed: seed(&schedule),
        timing: Timing::read(&schedule.spec, &ctx.rotations.crontabs),
        elder: elder(&schedule, &schedules.all()),
        truth: None,
        user: None,
        consumers: None,
        held: ctx.installation.hold.at(ctx.now()).is_some(),
        uses: secret.as_deref().map_or_else(Uses::default, Uses::of),
        secret,
        schedule,
    };
    if seen.elder.is_some() || seen.schedule.metadata.deletion_timestamp.is_some() {
        return Ok(seen);
    }
    let Some(secret) = seen.secret.clone() else {
        return Ok(seen);
    };
    seen.truth = truth(&secret, &seen.uses, ctx).await?;
    let truth = seen.truth.as_ref();
    seen.user = truth.and_then(|truth| current_user(&secret, truth, &seen, ctx));
    seen.consumers = consumers(&seen, &secret, ctx).await?;
    Ok(seen)
}

/// The pods, where they are waited for. They must have what is current, which may be newer than what the rotation made.
async fn consumers(
    seen: &Observed,
    secret: &ManagedSecret,
    ctx: &Context,
) -> Result<Option<Consumers>, Error> {
    let finish = seen.schedule.spec.finish.as_ref();
    let waits = finish.and_then(|finish| finish.wait_for_consumers);
    let manifest = seen.truth.as_ref().map(|truth| &truth.manifest);
    let running = manifest.and_then(|it| it.rotation()?.running.as_ref());
    let running = running.filter(|it| it.promoted.is_some() && it.loaded.is_none());
    match (running, manifest.and_then(Manifest::current)) {
        (Some(running), Some(current)) if waits.unwrap_or(true) => {
            let looked = consumers::look(secret, &current.id, running.delivered, ctx);
            looked.await.map(Some)
        }
        _ => Ok(None),
    }
}

/// The truth about a secret; `None` while there is none that is its own and can be opened, of which its own condition tells.
async fn truth(secret: &ManagedSecret, uses: &Uses, ctx: &Context) -> Result<Option<Truth>, Error> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let object = format!("truth of {namespace}/{name}");
    let Some(Ok(stored)) = call("get", object, ctx.sealed.get(&namespace, &name)).await? else {
        return Ok(None);
    };
    let is_own = secret.metadata.uid.as_ref() == Some(&stored.claim.object_uid);
    if !is_own || stored.parked_since.is_some() {
        return Ok(None);
    }
    let user = user_of(secret, Some(&stored.claim.namespace_uid), ctx.now());
    let access = KeyAccess::new(user, uses, ctx);
    let manifest = opened::open_manifest(&stored, &access);
    Ok(manifest.ok().map(|manifest| Truth { stored, manifest }))
}

/// The number of a schedule: the same for one of the same name, also when it is made anew.
fn seed(schedule: &RotationSchedule) -> u64 {
    let namespace = schedule.namespace().unwrap_or_default();
    let digest = Sha256::digest(format!("{namespace}/{}", schedule.name_any()));
    u64::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ])
}

/// The name of the schedule of the same secret that is older, if there is one: that is obeyed.
fn elder(schedule: &RotationSchedule, all: &[Arc<RotationSchedule>]) -> Option<String> {
    let age = |of: &RotationSchedule| (of.creation_timestamp(), of.uid(), of.name_any());
    let others = all.iter().filter(|other| {
        other.secret() == schedule.secret()
            && other.uid() != schedule.uid()
            && other.metadata.deletion_timestamp.is_none()
    });
    let oldest = others.min_by_key(|other| age(other))?;
    (age(oldest) < age(schedule)).then(|| oldest.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schedule(name: &str, secret: &str, second: u8) -> Arc<RotationSchedule> {
        let schedule = json!({
            "apiVersion": "keystead.dev/v1alpha1", "kind": "RotationSchedule",
            "metadata": {
                "namespace": "shop", "name": name, "uid": name,
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            },
            "spec": {"secretRef": {"name": secret}, "strategy": {"regenerate": {}}},
        });
        Arc::new(serde_json::from_value(schedule).unwrap())
    }

    #[test]
    fn the_oldest_schedule_of_a_secret_is_obeyed() {
        let all = [
            schedule("b", "db", 2),
            schedule("a", "db", 3),
            schedule("c", "other", 1),
            schedule("d", "db", 2),
        ];
        let elder = |index: usize| elder(&all[index], &all);
        assert_eq!(elder(0), None);
        assert_eq!(elder(1).as_deref(), Some("b"));
        assert_eq!(elder(2), None);
        // Of the same second, the smaller UID: any rule will do that all agree on.
        assert_eq!(elder(3).as_deref(), Some("b"));
    }

    #[test]
    fn the_number_of_a_schedule_is_that_of_its_name() {
        assert_eq!(seed(&schedule("a", "x", 1)), seed(&schedule("a", "y", 9)));
        assert_ne!(seed(&schedule("a", "x", 1)), seed(&schedule("b", "x", 1)));
    }
}
