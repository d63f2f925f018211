//! What a call of the API asks of a secret: whether it is done, and what it makes of the versions. Pure, but for the look.
//!
//! What is refused here is refused to whoever asked, and to nobody else: the secret goes on as its spec says.

mod put;
pub(crate) mod seen;
mod stage;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::super::observe::Observed;
use super::super::step::{Answer, Refusal, Step};
use super::super::truth::base::Base;
use super::value::{Next, Wanted};
use crate::api::{ChangeError, SecretChange, SecretChangeStatus};
use crate::controllers::changes::{TOO_LATE, created, refused};
use crate::crypto::{KeyId, Random};
use crate::secrets::{Manifest, Running, VersionId};

pub(crate) use self::seen::ChangeSeen;

/// What comes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done, perhaps before: the version that it is about is as was asked for.
    Done(VersionId),
    /// It is not done.
    Refused(ChangeError, String),
    /// Something else comes first: the next look decides.
    Later,
}

/// Why a change is not done, or why the plan is not made with it.
enum NotDone {
    /// Refused to whoever asked.
    Refused(ChangeError, String),
    /// As the plan of the secret is refused.
    Plan(Refusal),
}

type Decided = Result<VersionId, NotDone>;

impl NotDone {
    fn parameter(message: impl Into<String>) -> Self {
        Self::Refused(ChangeError::InvalidParameterException, message.into())
    }

    fn request(message: impl Into<String>) -> Self {
        Self::Refused(ChangeError::InvalidRequestException, message.into())
    }

    /// Why something does not open is for those who may look at the resources.
    fn unreadable() -> Self {
        Self::request(
            "what was put, or what is stored, does not open now: see the conditions of the ManagedSecret and of its key",
        )
    }

    fn missing(version: &str) -> Self {
        let message = format!("the secret has no version {version}");
        Self::Refused(ChangeError::ResourceNotFoundException, message)
    }
}

impl From<Refusal> for NotDone {
    fn from(refusal: Refusal) -> Self {
        Self::Plan(refusal)
    }
}

/// Makes what a change asks for of `next`, or says why not. `next` is as it was where it is not done.
pub(super) fn decide<'a>(
    next: &mut Next<'a>,
    seen: &'a Observed,
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    asked: &'a ChangeSeen,
    (key, now): (KeyId, Timestamp),
    random: &mut dyn Random,
) -> Result<Verdict, Refusal> {
    let spec = &asked.change.spec;
    let decided = check(seen, base, &asked.change, now).and_then(|()| {
        if next.is_new() || seen.rotation.is_some() {
            return Ok(None);
        }
        let version = match (&spec.put, &spec.move_stage) {
            (Some(put), None) => {
                put::put(next, seen, base, wanted, (put, asked), (key, now), random)
            }
            (None, Some(moved)) => stage::change(next, seen, wanted, (moved, asked), now, random),
            // The schema refuses it before.
            _ => Err(NotDone::request("the change is not well-formed")),
        };
        version.map(Some)
    });
    match decided {
        Ok(Some(version)) => Ok(Verdict::Done(version)),
        Ok(None) => Ok(Verdict::Later),
        Err(NotDone::Refused(code, message)) => Ok(Verdict::Refused(code, message)),
        Err(NotDone::Plan(refusal)) => Err(refusal),
    }
}

/// Whether it is asked of this very secret, in time, and of one that can be written by calls.
fn check(
    seen: &Observed,
    base: &Base<'_>,
    change: &SecretChange,
    now: Timestamp,
) -> Result<(), NotDone> {
    let age = now.duration_since(created(change));
    if age > TOO_LATE {
        let message = format!(
            "it was asked for {} seconds before the controller came to it, and was not done: try again with the same \
             ClientRequestToken. (If that lasts, the clocks of the nodes differ)",
            age.as_secs()
        );
        return Err(NotDone::Refused(
            ChangeError::ServiceUnavailableException,
            message,
        ));
    }
    if seen.secret.spec.replica_of.is_some() {
        let message = "the secret is a replica and follows its source: put the value there";
        return Err(NotDone::request(message));
    }
    let Some(truth) = base.truth() else {
        return Err(NotDone::request("nothing is stored of the secret yet"));
    };
    let is_same = seen.secret.uid().as_ref() == Some(&change.spec.object_uid)
        && truth.stored.claim.namespace_uid == change.spec.namespace_uid;
    if !is_same {
        let message =
            "the ManagedSecret was deleted and made anew meanwhile: look at it and ask again";
        return Err(NotDone::request(message));
    }
    Ok(())
}

/// The rotation that is under way.
fn running(manifest: &Manifest) -> Option<&Running> {
    manifest.rotation()?.running.as_ref()
}

/// The answer that a verdict is, once the truth is as the manifest says.
pub(crate) fn answer(
    seen: &Observed,
    verdict: Option<&Verdict>,
    manifest: &Manifest,
) -> Option<Step> {
    let asked = seen.change.as_ref()?;
    let status = match verdict? {
        Verdict::Later => return None,
        Verdict::Refused(code, message) => refused(*code, message),
        Verdict::Done(version) => {
            let stages = manifest.version(version).map(|version| &version.stages);
            SecretChangeStatus {
                done: Some(true),
                stages: stages
                    .into_iter()
                    .flatten()
                    .map(ToString::to_string)
                    .collect(),
                ..SecretChangeStatus::default()
            }
        }
    };
    Some(step(asked, status))
}

/// The refusal of a change with which there would be no plan, although there is one without it.
pub(crate) fn refuse(asked: &ChangeSeen, message: &str) -> Step {
    let refused = refused(ChangeError::InvalidParameterException, message);
    step(asked, refused)
}

/// The refusal of a change of a secret that cannot be written now, whatever is asked. Why is for those who may look at the resource.
pub(crate) fn refuse_now(asked: &ChangeSeen) -> Step {
    let message = "the secret cannot be written now: see the condition Ready of the ManagedSecret";
    step(
        asked,
        refused(ChangeError::InvalidRequestException, message),
    )
}

/// The refusal of a change of a secret that is about to go.
pub(crate) fn refuse_deleted(asked: &ChangeSeen) -> Step {
    let message = "the ManagedSecret is being deleted: apply it again, once it is gone, to have the secret back";
    step(
        asked,
        refused(ChangeError::InvalidRequestException, message),
    )
}

fn step(asked: &ChangeSeen, status: SecretChangeStatus) -> Step {
    Step::Answer(Box::new(Answer {
        change: asked.change.clone(),
        status,
    }))
}

#[cfg(test)]
mod tests;
