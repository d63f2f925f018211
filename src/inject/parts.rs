//! What a pod gets so that its variables have files to come from: one init container, which is the first, a volume of the CSI
//! driver that only this container sees, and a volume in memory that it writes the files into and kubelet reads them from.
//!
//! None of it needs a network, a token or the image of the pod. The names are fixed, and what already has one of them and is
//! not this is refused.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, PodSpec, SeccompProfile, SecurityContext,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::refusal::Findings;
use super::volumes::driven;
use super::{Copier, resources};
use crate::api::volume::{FileMode, VolumeItem, VolumeRequest, VolumeSource};

/// The injected init container.
pub const ENV_CONTAINER: &str = "keystead-env";
/// The volume in memory with a file for each variable.
pub const ENV_VOLUME: &str = "keystead-env";
/// The volume of the CSI driver that they are made from.
pub const SOURCE_VOLUME: &str = "keystead-env-source";
/// The program of the container, by its path in the image.
const PROGRAM: &str = "/keystead-node";
/// Its subcommand.
const SUBCOMMAND: &str = "copy-env";
/// Where the container sees the volume of the CSI driver.
const SOURCE_FOLDER: &str = "/run/keystead/source";
/// Where the container sees the volume in memory.
const TARGET_FOLDER: &str = "/run/keystead/env";
/// Where the admission plugin for service accounts mounts a token into every container that has no mount there. It is asked again
/// after the webhooks, so that the container gets something else there first.
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The user of the container where the pod names none that is not root: that of the image.
const USER: i64 = 65532;
/// Everybody reads: only the container sees that volume, by whichever user it runs.
const SOURCE_MODE: u32 = 0o444;
/// Room of a file, in whole pages: each is at most so large (see [`super::env::MAX_FILE`]).
const FILE_KIBIBYTES: usize = 64;

/// The values that the variables of a pod come from, by secret and key, and whether the pod starts without them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<(String, String), bool>);

impl Files {
    /// One more variable needs this value.
    pub(super) fn want(&mut self, secret: &str, key: &str, optional: bool) {
        let file = (secret.to_owned(), key.to_owned());
        *self.0.entry(file).or_insert(true) &= optional;
    }

    /// The file with this value, in both volumes.
    pub(super) fn path(secret: &str, key: &str) -> String {
        format!("{secret}/{key}")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(request: &VolumeRequest) -> Self {
        let mut files = Self::default();
        for source in request.sources() {
            for item in &source.items {
                files.want(&source.secret, &item.key, source.optional);
            }
        }
        files
    }

    fn request(&self) -> Result<VolumeRequest, String> {
        let mut sources: BTreeMap<(&str, bool), VolumeSource> = BTreeMap::new();
        for ((secret, key), optional) in &self.0 {
            let source = sources.entry((secret, *optional));
            let source = source.or_insert_with(|| VolumeSource {
                optional: *optional,
                ..VolumeSource::of(secret)
            });
            source.items.push(VolumeItem {
                key: key.clone(),
                path: Self::path(secret, key),
                mode: None,
            });
        }
        let mode = FileMode::try_from(SOURCE_MODE).map_err(str::to_owned)?;
        let request = VolumeRequest::new(sources.into_values().collect(), mode);
        // A variable has the value that the pod started with, and so has what is said of the version that the pod has.
        let request = request.map(VolumeRequest::fixed);
        request.map_err(|error| error.to_string())
    }

    fn arguments(&self) -> Vec<String> {
        let folders = [
            format!("--source={SOURCE_FOLDER}"),
            format!("--target={TARGET_FOLDER}"),
        ];
        let files = self.0.iter().map(|((secret, key), optional)| {
            let path = Self::path(secret, key);
            if *optional {
                format!("--optional={path}")
            } else {
                path
            }
        });
        folders.into_iter().chain(files).collect()
    }

    /// Room for all files, and for one that is about to take the place of another.
    fn size(&self) -> Quantity {
        Quantity(format!("{}Ki", FILE_KIBIBYTES * (self.0.len() + 1)))
    }
}

/// Whether a pod has the parts.
pub(super) enum Present {
    /// It has none of them.
    No,
    /// All, for these files.
    Yes(Files),
    /// Something else has one of their names: the field.
    Taken(&'static str),
}

/// Looks for the parts in a pod.
pub(super) fn present(spec: &PodSpec) -> Present {
    let container = containers(spec).any(|container| container.name == ENV_CONTAINER);
    let volume = |name| {
        spec.volumes
            .iter()
            .flatten()
            .find(|v: &&Volume| v.name == name)
    };
    let (env, source) = (volume(ENV_VOLUME), volume(SOURCE_VOLUME));
    if !container && env.is_none() && source.is_none() {
        return Present::No;
    }
    if !spec.init_containers.iter().flatten().any(is_ours) {
        return match (container, env) {
            (true, _) => Present::Taken("container keystead-env"),
            (false, Some(_)) => Present::Taken("volume keystead-env"),
            (false, None) => Present::Taken("volume keystead-env-source"),
        };
    }
    if env.is_none_or(|volume| volume.empty_dir.is_none()) {
        return Present::Taken("volume keystead-env");
    }
    match source.and_then(VolumeRequest::of) {
        Some(request) => Present::Yes(Files::of(&request)),
        None => Present::Taken("volume keystead-env-source"),
    }
}

/// Whether this is the injected container.
pub(super) fn is_ours(container: &Container) -> bool {
    let command = container.command.as_deref().unwrap_or_default();
    container.name == ENV_CONTAINER && command == [PROGRAM, SUBCOMMAND]
}

/// Gives a pod the parts for these files, or changes those that it has.
pub(super) fn put(spec: &mut PodSpec, files: &Files, copier: &Copier, findings: &mut Findings) {
    let request = match files.request() {
        Ok(request) => request,
        Err(problem) => {
            let reason =
                format!("takes more variables from sealed secrets than a pod can, since {problem}");
            let remedy = "mount the secrets as volumes, or name the keys that are needed";
            return findings.refuse("spec.containers", reason, remedy);
        }
    };
    put_volume(spec, in_memory(files));
    put_volume(spec, driven(SOURCE_VOLUME, &request));
    let init = spec.init_containers.iter_mut().flatten();
    if let Some(ours) = init.into_iter().find(|container| is_ours(container)) {
        ours.args = Some(files.arguments());
        return;
    }
    let container = container(spec, files, copier);
    spec.init_containers
        .get_or_insert_default()
        .insert(0, container);
}

/// Puts the injected container before all others, whatever was put before it since: any of them may need its files.
pub(super) fn put_first(spec: &mut PodSpec) {
    let Some(init) = &mut spec.init_containers else {
        return;
    };
    if let Some(index) = init.iter().position(is_ours) {
        init[..=index].rotate_right(1);
    }
}

/// All containers of a pod.
pub(super) fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
}

fn put_volume(spec: &mut PodSpec, volume: Volume) {
    let volumes = spec.volumes.get_or_insert_default();
    match volumes.iter_mut().find(|other| other.name == volume.name) {
        Some(other) => *other = volume,
        None => volumes.push(volume),
    }
}

fn in_memory(files: &Files) -> Volume {
    Volume {
        name: ENV_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(files.size()),
        }),
        ..Volume::default()
    }
}

fn container(spec: &PodSpec, files: &Files, copier: &Copier) -> Container {
    let mount = |volume: &str, path: &str, read_only| VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    Container {
        name: ENV_CONTAINER.to_owned(),
        image: Some(copier.image.clone()),
        image_pull_policy: copier.pull_policy.clone(),
        command: Some(vec![PROGRAM.to_owned(), SUBCOMMAND.to_owned()]),
        args: Some(files.arguments()),
        resources: resources::like_the_others(spec),
        security_context: Some(restricted(spec)),
        // What it says of a value that cannot travel is then in the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![
            mount(SOURCE_VOLUME, SOURCE_FOLDER, Some(true)),
            mount(ENV_VOLUME, TARGET_FOLDER, None),
            mount(ENV_VOLUME, TOKEN_FOLDER, Some(true)),
        ]),
        ..Container::default()
    }
}

/// The strictest level of the Pod Security Standards.
fn restricted(spec: &PodSpec) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        run_as_user: user(spec),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..SecurityContext::default()
    }
}

/// The user of the container, so that policies about users that let the pod run let it run with this container: the pod's, which
/// is inherited; else that of all its containers; else that of the image. Never root, which it has no need of.
fn user(spec: &PodSpec) -> Option<i64> {
    let pod = spec.security_context.as_ref();
    if pod
        .and_then(|pod| pod.run_as_user)
        .is_some_and(|user| user != 0)
    {
        return None;
    }
    let users = spec.containers.iter().map(|container| {
        let context = container.security_context.as_ref()?;
        context.run_as_user
    });
    let users: BTreeSet<_> = users.collect();
    let common = users
        .first()
        .copied()
        .flatten()
        .filter(|user| users.len() == 1 && *user != 0);
    Some(common.unwrap_or(USER))
}
