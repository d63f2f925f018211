//! The status of a key says that it refuses use only when every replica of the server refuses.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::observe::Observed;
use super::plan::Plan;
use crate::api::condition::{self, NewCondition};
use crate::api::{KeyState, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::Error;

/// How soon to look again while a replica is waited for.
const SOON: SignedDuration = SignedDuration::from_secs(2);

/// Keeps the old state in the status while a replica of the server may still use the key.
pub(super) async fn hold(plan: &mut Plan, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let Some(revision) = awaited(plan, seen) else {
        return Ok(());
    };
    let behind = ctx.replicas.behind(revision, ctx).await?;
    if !behind.is_empty() {
        wait(plan, seen, &behind, ctx.now());
    }
    Ok(())
}

/// The state of the truth that every replica must have applied before this status is published; `None` if it may be at
/// once.
fn awaited(plan: &Plan, seen: &Observed) -> Option<u64> {
    let refuses = |state: Option<KeyState>| {
        matches!(
            state,
            Some(KeyState::Disabled | KeyState::PendingDeletion | KeyState::DestructionDue)
        )
    };
    let new = plan.status.as_ref()?.state;
    let old = seen.key.status.as_ref().and_then(|status| status.state);
    if !plan.steps.is_empty() || !refuses(new) || refuses(old) {
        return None;
    }
    let truth = &seen.material.as_ref()?.truth;
    truth.resource_version()?.parse().ok()
}

fn wait(plan: &mut Plan, seen: &Observed, behind: &[String], now: Timestamp) {
    let Some(status) = &mut plan.status else {
        return;
    };
    status.state = seen.key.status.as_ref().and_then(|status| status.state);
    let some: Vec<_> = behind.iter().take(5).map(String::as_str).collect();
    let message = format!(
        "the key is taken out of use; replicas of the server that have not confirmed it yet: {} ({})",
        behind.len(),
        some.join(", ")
    );
    let ready = NewCondition::not_ready(Reason::Waiting, message);
    let generation = seen.key.metadata.generation.unwrap_or_default();
    condition::set(&mut status.conditions, ready.clone(), generation, now);
    plan.ready = Some(ready);
    let soon = now.saturating_add(SOON).unwrap_or(now);
    plan.next = Some(plan.next.map_or(soon, |next| next.min(soon)));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{new_key, planned, settle};
    use super::*;

    /// A key whose spec and truth say that it is disabled, and whose status says `old`.
    fn disabled(old: Option<KeyState>) -> Observed {
        let mut seen = new_key();
        settle(&mut seen);
        Arc::make_mut(&mut seen.key).spec.enabled = Some(false);
        settle(&mut seen);
        let material = seen.material.as_mut().unwrap();
        material.truth.metadata.resource_version = Some("77".to_owned());
        let key = Arc::make_mut(&mut seen.key);
        key.status.as_mut().unwrap().state = old;
        seen
    }

    #[test]
    fn a_key_that_gets_disabled_waits_for_the_state_of_its_truth() {
        let seen = disabled(Some(KeyState::Enabled));
        let mut plan = planned(&seen);
        assert_eq!(
            plan.status.as_ref().unwrap().state,
            Some(KeyState::Disabled)
        );
        assert_eq!(awaited(&plan, &seen), Some(77));

        let now = Timestamp::from_second(1_800_000_000).unwrap();
        wait(&mut plan, &seen, &["keystead-server-a".to_owned()], now);
        let status = plan.status.unwrap();
        assert_eq!(status.state, Some(KeyState::Enabled));
        assert_eq!(status.conditions[0].reason, "Waiting");
        assert!(status.conditions[0].message.contains("keystead-server-a"));
        assert!(plan.next.unwrap() <= now + SOON);
    }

    #[test]
    fn what_refuses_already_or_is_in_use_waits_for_nobody() {
        let seen = disabled(Some(KeyState::Disabled));
        assert_eq!(awaited(&planned(&seen), &seen), None);
        let mut seen = disabled(Some(KeyState::Disabled));
        Arc::make_mut(&mut seen.key).spec.enabled = None;
        // The truth still has to be written: nothing is published yet.
        assert_eq!(awaited(&planned(&seen), &seen), None);
    }
}
