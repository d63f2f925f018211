//! Calls of somebody's own code in a Job: for each step one, made from a suspended `CronJob` of the user's.
//!
//! ```text
//! no Job ─▶ made ─▶ runs ─┬─ succeeds ─▶ the step is done
//!            ▲            ├─ exit code 10 ─▶ the pending value is refused
//!            └── later ◀──┴─ fails otherwise
//! ```
//!
//! The Jobs themselves say what is done: nothing else is remembered of them, and whoever is killed looks at them again.

mod object;
mod turn;

use std::collections::HashSet;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt};

use self::object::{Making, Name};
use self::turn::{REFUSED, Turn, attempt_of, exit_code, is_over, superfluous, turn, why_failed};
use super::own_code::Call;
use super::{Answer, Observed};
use crate::api::names::{
    AUTHORITY_CONFIG_MAP, AUTHORITY_KEY, FIELD_MANAGER, LABEL_ROTATION_STEP, LABEL_ROTATION_VERSION,
};
use crate::api::rotation_schedule::JobRotation;
use crate::api::{ManagedSecret, RotationSchedule, RotationStep};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call, is};
use crate::rotation::rotator::Outcome;
use crate::secrets::VersionId;

/// The Jobs of a schedule.
pub(in crate::controllers::rotation_schedule) struct Jobs<'a> {
    rotation: &'a JobRotation,
    secret: &'a ManagedSecret,
    seen: &'a Observed,
    ctx: &'a Context,
    namespace: String,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(
        rotation: &'a JobRotation,
        secret: &'a ManagedSecret,
        seen: &'a Observed,
        ctx: &'a Context,
    ) -> Self {
        Self {
            namespace: secret.namespace().unwrap_or_default(),
            rotation,
            secret,
            seen,
            ctx,
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.ctx.client.clone(), &self.namespace)
    }

    fn schedule(&self) -> &RotationSchedule {
        &self.seen.schedule
    }

    /// Makes the Job of a call, or looks what became of it.
    pub(super) async fn call(&self, wanted: Call<'_>) -> Result<Answer, Error> {
        let name = Name::of(&self.rotation.template_from.cron_job.name, wanted);
        let selector = format!(
            "{LABEL_ROTATION_VERSION}={},{LABEL_ROTATION_STEP}={}",
            wanted.version,
            name.step()
        );
        let jobs = self.list(&selector).await?;
        let made = match turn(&jobs, self.ctx.now()) {
            Turn::Make(attempt) => self.make(&name, attempt, wanted).await,
            Turn::Wait(job) => Ok(underway(job)),
            Turn::Done => Ok(Answer::Came(Outcome::Done)),
            Turn::Failed { job, again } => match self.failed(job).await? {
                Outcome::Retry(_) if again => self.make(&name, attempt_of(job) + 1, wanted).await,
                failed => Ok(Answer::Came(failed)),
            },
        };
        match made {
            Err(Error::Api { source, .. }) if refuses_for_good(&source) => {
                Ok(Answer::Came(Outcome::Rejected(refusal(&source))))
            }
            other => other,
        }
    }

    /// Waits for the Jobs of a version that is given up. What they do is theirs, until their deadline.
    pub(super) async fn rest(&self, version: &VersionId) -> Result<Answer, Error> {
        let jobs = self
            .list(&format!("{LABEL_ROTATION_VERSION}={version}"))
            .await?;
        let running = jobs.iter().find(|job| !is_over(job));
        Ok(running.map_or(Answer::Came(Outcome::Done), underway))
    }

    /// The Jobs of this very schedule.
    async fn list(&self, selector: &str) -> Result<Vec<Job>, Error> {
        let params = ListParams::default().labels(selector);
        let object = format!("Jobs of {}", self.namespace);
        let mut jobs = call("list", object, self.api::<Job>().list(&params))
            .await?
            .items;
        let uid = self.schedule().uid();
        let is_ours = |job: &Job| {
            let owners = job.metadata.owner_references.iter().flatten();
            let mut owners = owners.filter(|owner| owner.controller == Some(true));
            owners.any(|owner| Some(&owner.uid) == uid.as_ref())
        };
        jobs.retain(is_ours);
        Ok(jobs)
    }

    async fn make(&self, name: &Name, attempt: u32, wanted: Call<'_>) -> Result<Answer, Error> {
        let cron = &self.rotation.template_from.cron_job.name;
        let object = format!("CronJob {}/{cron}", self.namespace);
        let found = call("get", object, self.api::<CronJob>().get_opt(cron)).await?;
        let Some(cron) = found else {
            let why = format!("CronJob {cron} does not exist; apply it, suspended");
            return Ok(Answer::Came(Outcome::Rejected(why)));
        };
        let making = Making {
            schedule: self.schedule(),
            secret: self.secret.name_any(),
            name: name.with(attempt),
            step: name.step(),
            attempt,
            call: wanted,
            server: self.ctx.server_url(),
            authority: self.authority().await?,
        };
        let job = match making.job(&cron) {
            Ok(job) => job,
            Err(problem) => return Ok(Answer::Came(Outcome::Rejected(problem))),
        };
        self.tidy(&cron, wanted).await?;
        self.ctx.check_leadership()?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let object = format!("Job {}/{}", self.namespace, making.name);
        match call("create", object, self.api::<Job>().create(&params, &job)).await {
            // Made before a crash, or by a look that was not told so.
            Err(Error::Api { source, .. })
                if is(&source, kube::core::Status::is_already_exists) =>
            {
                Ok(underway(&job))
            }
            made => Ok(underway(&made?)),
        }
    }

    /// What trusts the server, as it is published.
    async fn authority(&self) -> Result<String, Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.ctx.client.clone(), &self.ctx.namespace);
        let object = format!("ConfigMap {AUTHORITY_CONFIG_MAP}");
        let found = call("get", object, maps.get_opt(AUTHORITY_CONFIG_MAP)).await?;
        let mut data = found.and_then(|map| map.data).unwrap_or_default();
        Ok(data.remove(AUTHORITY_KEY).unwrap_or_default())
    }

    /// What a Job that failed came to.
    async fn failed(&self, job: &Job) -> Result<Outcome, Error> {
        let name = job.name_any();
        let params = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
        let object = format!("Pods of Job {}/{name}", self.namespace);
        let pods = call("list", object, self.api::<Pod>().list(&params)).await?;
        let why = why_failed(job, &pods.items);
        let told = format!(
            "Job {name}: {why}; kubectl logs -n {} job/{name}",
            self.namespace
        );
        Ok(match exit_code(&pods.items) {
            Some(REFUSED) => Outcome::ValueRefused(told),
            _ => Outcome::Retry(told),
        })
    }

    /// Deletes the Jobs of rotations that are over, but for the last ones, before a new one begins; and attempts of this step that
    /// failed long ago.
    async fn tidy(&self, cron: &CronJob, wanted: Call<'_>) -> Result<(), Error> {
        let all = self.list(LABEL_ROTATION_VERSION).await?;
        let begins = wanted.step == RotationStep::CreateSecret || wanted.check.is_some();
        let running: HashSet<_> = self.running(wanted).collect();
        for name in superfluous(&all, cron, begins, &running) {
            self.ctx.check_leadership()?;
            let object = format!("Job {}/{name}", self.namespace);
            let jobs = self.api::<Job>();
            match call(
                "delete",
                object,
                jobs.delete(&name, &DeleteParams::background()),
            )
            .await
            {
                Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_not_found) => {
                }
                other => other.map(|_| ())?,
            }
        }
        Ok(())
    }

    /// The versions whose Jobs say something that is still needed.
    fn running(&self, wanted: Call<'_>) -> impl Iterator<Item = String> {
        let truth = self.seen.truth.as_ref();
        let rotation = truth.and_then(|truth| truth.manifest.rotation());
        let running = rotation.and_then(|rotation| rotation.running.as_ref());
        let running = running.map(|running| running.version.to_string());
        running.into_iter().chain([wanted.version.to_string()])
    }
}

fn underway(job: &Job) -> Answer {
    let (name, namespace) = (job.name_any(), job.namespace().unwrap_or_default());
    let step = job.labels().get(LABEL_ROTATION_STEP);
    let step = step.map(String::as_str).unwrap_or_default();
    debug_assert!(!is_over(job));
    let active = job.status.as_ref().and_then(|status| status.active);
    let what = match active {
        Some(1..) => format!("Job {name} runs ({step}); kubectl logs -n {namespace} job/{name}"),
        _ => format!(
            "Job {name} waits for its pod ({step}); kubectl describe -n {namespace} job/{name}"
        ),
    };
    Answer::Underway { what, job: name }
}

/// What the API server refuses also when it is asked again: a policy, a quota, Pod Security, a field.
fn refuses_for_good(error: &kube::Error) -> bool {
    is(error, kube::core::Status::is_forbidden) || is(error, kube::core::Status::is_invalid)
}

/// Its words name fields of the user's own `CronJob`, in which there is no value.
fn refusal(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the Job is refused: {}", status.message),
        other => format!("the Job is refused: {}", crate::telling::describe(other)),
    }
}
