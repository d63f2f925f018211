//! The Job of a call, made from the user's `CronJob`. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use k8s_openapi::api::core::v1::{
    CSIVolumeSource, Container, DownwardAPIProjection, DownwardAPIVolumeFile, EnvVar,
    ObjectFieldSelector, PodSpec, PodTemplateSpec, ProjectedVolumeSource,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use super::super::own_code::Call;
use crate::api::names::{
    ANNOTATION_API_AUTHORITY, ANNOTATION_ROTATION_ATTEMPT, AUDIENCE, CSI_ATTRIBUTE_FOLLOW,
    CSI_ATTRIBUTE_OPTIONAL, CSI_ATTRIBUTE_SECRET, CSI_ATTRIBUTE_STAGE, CSI_DRIVER,
    LABEL_MANAGED_BY, LABEL_ROTATION_STEP, LABEL_ROTATION_VERSION, MANAGED_BY,
};
use crate::api::volume::VolumeStage;
use crate::api::{RotationSchedule, RotationStep};
use crate::hex::Hex;

/// Where all that the code gets is.
const FOLDER: &str = "/keystead";
/// What our volumes are called begins with this.
const VOLUME_PREFIX: &str = "keystead-";
/// The folder of [`FOLDER`] with the token and what trusts the server.
const API: &str = "api";
/// Seconds for which the token is valid. kubelet replaces it in time.
const TOKEN_SECONDS: i64 = 3600;
/// Seconds that a step may take, if the `CronJob` says nothing.
const DEADLINE_SECONDS: i64 = 600;
/// Longest beginning of a Job's name: the whole has to be a label of its pods.
const MAX_PREFIX: usize = 28;

/// The names of the Jobs of one call.
pub(super) struct Name {
    prefix: String,
    step: String,
}

impl Name {
    /// Of a call by the code of that `CronJob`.
    pub(super) fn of(cron: &str, call: Call<'_>) -> Self {
        let step = match (call.step, call.check) {
            (_, Some(token)) => {
                let digest = Sha256::digest(token);
                format!("check-{}", Hex(&digest[..4]))
            }
            (RotationStep::CreateSecret, None) => "create".to_owned(),
            (RotationStep::SetSecret, None) => "set".to_owned(),
            (RotationStep::TestSecret, None) => "test".to_owned(),
            (RotationStep::FinishSecret, None) => "finish".to_owned(),
        };
        let cron = cron.get(..MAX_PREFIX).unwrap_or(cron);
        let cron = cron.trim_end_matches(['-', '.']);
        let version = call.version.as_str();
        let version = version.get(..8).unwrap_or(version);
        Self {
            prefix: format!("{cron}-{version}"),
            step,
        }
    }

    /// The name of an attempt.
    pub(super) fn with(&self, attempt: u32) -> String {
        format!("{}-{}-{attempt}", self.prefix, self.step)
    }

    /// What the step is called in labels.
    pub(super) fn step(&self) -> &str {
        &self.step
    }
}

/// All that a Job is made of, beside the `CronJob`.
pub(super) struct Making<'a> {
    pub(super) schedule: &'a RotationSchedule,
    /// The name of the secret.
    pub(super) secret: String,
    pub(super) name: String,
    pub(super) step: &'a str,
    pub(super) attempt: u32,
    pub(super) call: Call<'a>,
    /// The URL of the API.
    pub(super) server: String,
    /// What trusts it, PEM.
    pub(super) authority: String,
}

impl Making<'_> {
    /// The Job, or what is in the way.
    pub(super) fn job(&self, cron: &CronJob) -> Result<Job, String> {
        let name = cron.name_any();
        let spec = &cron.spec;
        if spec.suspend != Some(true) {
            return Err(format!(
                "CronJob {name} is not suspended, so that it also runs by itself, without a step: set its spec.suspend to true"
            ));
        }
        let template = spec.job_template.spec.as_ref();
        let template = template.ok_or_else(|| format!("CronJob {name} has no template"))?;
        let pod = template.template.spec.clone().unwrap_or_default();
        let of = |problem| format!("CronJob {name}: {problem}");
        Ok(Job {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: self.schedule.namespace(),
                labels: Some(self.labels(spec.job_template.metadata.as_ref())),
                annotations: Some(self.annotations(spec.job_template.metadata.as_ref())),
                owner_references: Some(vec![self.owner()]),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec {
                active_deadline_seconds: template
                    .active_deadline_seconds
                    .or(Some(DEADLINE_SECONDS)),
                // The operator tries again, and says so.
                backoff_limit: Some(0),
                template: PodTemplateSpec {
                    metadata: Some(self.pod_metadata(template.template.metadata.as_ref())),
                    spec: Some(self.pod(pod).map_err(of)?),
                },
                ..JobSpec::default()
            }),
            status: None,
        })
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: "keystead.dev/v1alpha1".to_owned(),
            kind: "RotationSchedule".to_owned(),
            name: self.schedule.name_any(),
            uid: self.schedule.uid().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    fn labels(&self, own: Option<&ObjectMeta>) -> BTreeMap<String, String> {
        let own = own.and_then(|own| own.labels.clone());
        let mut labels = own.unwrap_or_default();
        labels.extend([
            (LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned()),
            (
                LABEL_ROTATION_VERSION.to_owned(),
                self.call.version.to_string(),
            ),
            (LABEL_ROTATION_STEP.to_owned(), self.step.to_owned()),
        ]);
        labels
    }

    fn annotations(&self, own: Option<&ObjectMeta>) -> BTreeMap<String, String> {
        let own = own.and_then(|own| own.annotations.clone());
        let mut annotations = own.unwrap_or_default();
        let attempt = self.attempt.to_string();
        annotations.insert(ANNOTATION_ROTATION_ATTEMPT.to_owned(), attempt);
        annotations
    }

    fn pod_metadata(&self, own: Option<&ObjectMeta>) -> ObjectMeta {
        let mut annotations = own
            .and_then(|own| own.annotations.clone())
            .unwrap_or_default();
        annotations.insert(ANNOTATION_API_AUTHORITY.to_owned(), self.authority.clone());
        ObjectMeta {
            labels: Some(self.labels(own)),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }
    }

    /// The user's pod with what the code gets, in all of its containers.
    fn pod(&self, mut pod: PodSpec) -> Result<PodSpec, String> {
        let volumes = pod.volumes.get_or_insert_default();
        if let Some(taken) = volumes.iter().find(|it| it.name.starts_with(VOLUME_PREFIX)) {
            return Err(format!(
                "volume {} has a name that begins with {VOLUME_PREFIX}, which is the operator's: rename it",
                taken.name
            ));
        }
        volumes.extend(self.volumes());
        // Its exit code would be lost.
        pod.restart_policy = Some("Never".to_owned());
        let init = pod.init_containers.iter_mut().flatten();
        for container in init.chain(&mut pod.containers) {
            self.equip(container)?;
        }
        Ok(pod)
    }

    fn equip(&self, container: &mut Container) -> Result<(), String> {
        let mounts = container.volume_mounts.get_or_insert_default();
        let is_ours = |path: &str| path == FOLDER || path.starts_with(&format!("{FOLDER}/"));
        if let Some(taken) = mounts.iter().find(|mount| is_ours(&mount.mount_path)) {
            return Err(format!(
                "container {} mounts something at {}: {FOLDER} is where the operator puts what the code gets",
                container.name, taken.mount_path
            ));
        }
        let folders = ["current", "pending", "previous", API];
        mounts.extend(folders.map(|folder| VolumeMount {
            name: format!("{VOLUME_PREFIX}{folder}"),
            mount_path: format!("{FOLDER}/{folder}"),
            read_only: Some(true),
            ..VolumeMount::default()
        }));
        let variables = self.variables();
        let env = container.env.get_or_insert_default();
        env.retain(|own| variables.iter().all(|ours| ours.name != own.name));
        env.extend(variables);
        Ok(())
    }

    fn variables(&self) -> Vec<EnvVar> {
        let variable = |(name, value): (&str, String)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        };
        let checks = self
            .call
            .check
            .map(|_| ("KEYSTEAD_CHECK", "true".to_owned()));
        let all = [
            ("KEYSTEAD_STEP", self.call.step.as_str().to_owned()),
            ("KEYSTEAD_SECRET", self.secret.clone()),
            ("KEYSTEAD_VERSION", self.call.version.to_string()),
            ("KEYSTEAD_URL", self.server.clone()),
            ("KEYSTEAD_CA_FILE", format!("{FOLDER}/{API}/ca.crt")),
            ("KEYSTEAD_TOKEN_FILE", format!("{FOLDER}/{API}/token")),
        ];
        all.into_iter().chain(checks).map(variable).collect()
    }

    fn volumes(&self) -> [Volume; 4] {
        // Where nothing is under way, what is current is what is tried.
        let pending = match self.call.check {
            None => VolumeStage::Pending,
            Some(_) => VolumeStage::Current,
        };
        // The version that a rotation has made current is not pending any more.
        let pending = match self.call.step {
            RotationStep::FinishSecret => VolumeStage::Current,
            _ => pending,
        };
        [
            self.values("current", VolumeStage::Current),
            self.values("pending", pending),
            self.values("previous", VolumeStage::Previous),
            api_volume(),
        ]
    }

    /// The keys of a version, as files that stay as they are while the step runs.
    fn values(&self, folder: &str, stage: VolumeStage) -> Volume {
        let mut attributes = BTreeMap::from([
            (CSI_ATTRIBUTE_SECRET.to_owned(), self.secret.clone()),
            (CSI_ATTRIBUTE_STAGE.to_owned(), stage.as_str().to_owned()),
            (CSI_ATTRIBUTE_FOLLOW.to_owned(), "false".to_owned()),
        ]);
        if stage != VolumeStage::Current {
            attributes.insert(CSI_ATTRIBUTE_OPTIONAL.to_owned(), "true".to_owned());
        }
        Volume {
            name: format!("{VOLUME_PREFIX}{folder}"),
            csi: Some(CSIVolumeSource {
                driver: CSI_DRIVER.to_owned(),
                read_only: Some(true),
                volume_attributes: Some(attributes),
                ..CSIVolumeSource::default()
            }),
            ..Volume::default()
        }
    }
}

/// The token with which the code may read the secret and store the value of the version, and what trusts the server.
fn api_volume() -> Volume {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(AUDIENCE.to_owned()),
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".to_owned(),
        }),
        ..VolumeProjection::default()
    };
    let authority = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "ca.crt".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{ANNOTATION_API_AUTHORITY}']"),
                    ..ObjectFieldSelector::default()
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: format!("{VOLUME_PREFIX}{API}"),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![token, authority]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
