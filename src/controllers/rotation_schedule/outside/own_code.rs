//! Somebody's own code, which is called for each of the four steps: in a Job, or over HTTPS.
//!
//! The contract is that of the rotation functions of AWS Secrets Manager: a step may be called any number of times with the id of one
//! version, and finds out itself what is done already.

use super::job::Jobs;
use super::webhook::Receiver;
use super::{Answer, Errand, Observed};
use crate::api::RotationStep;
use crate::controllers::error::Error;
use crate::rotation::rotator::Outcome;
use crate::secrets::VersionId;

/// Where the code is.
pub(super) enum Code<'a> {
    /// In a Job.
    Job(Jobs<'a>),
    /// Behind a URL.
    Webhook(Receiver<'a>),
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// The step.
    pub(super) step: RotationStep,
    /// The version that it is about: pending, or current since.
    pub(super) version: &'a VersionId,
    /// That the version is current and only tried, for that token: nothing may be changed.
    pub(super) check: Option<&'a str>,
}

impl Code<'_> {
    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        match self {
            Self::Job(jobs) => jobs.call(call).await,
            Self::Webhook(receiver) => receiver.call(call).await.map(Answer::Came),
        }
    }

    /// Waits until nothing of that version is under way any more: then nobody tells the other side of it.
    async fn rest(&self, version: &VersionId) -> Result<Answer, Error> {
        match self {
            Self::Job(jobs) => jobs.rest(version).await,
            Self::Webhook(_) => Ok(Answer::Came(Outcome::Done)),
        }
    }
}

/// Runs an errand, as far as it comes now.
pub(super) async fn run(
    errand: &Errand,
    code: &Code<'_>,
    seen: &Observed,
) -> Result<Answer, Error> {
    let step = |step, version| Call {
        step,
        version,
        check: None,
    };
    match errand {
        Errand::Create(version) => code.call(step(RotationStep::CreateSecret, version)).await,
        Errand::Carry(version) => match code.call(step(RotationStep::SetSecret, version)).await? {
            Answer::Came(Outcome::Done) => code.call(step(RotationStep::TestSecret, version)).await,
            other => Ok(other),
        },
        // The contract has no step for it. The value before was not retired, so that it works as it did.
        Errand::Revert(version) => code.rest(version).await,
        Errand::Retire(version) => code.call(step(RotationStep::FinishSecret, version)).await,
        Errand::Check(token) => {
            let manifest = seen.truth.as_ref().map(|truth| &truth.manifest);
            let Some(current) = manifest.and_then(|manifest| manifest.current()) else {
                return Ok(Answer::Came(Outcome::Retry(
                    "the secret is gone".to_owned(),
                )));
            };
            code.call(Call {
                step: RotationStep::TestSecret,
                version: &current.id,
                check: Some(token.as_deref().unwrap_or_default()),
            })
            .await
        }
    }
}
