//! A manifest that is applied again to a pod that was injected names what the pod named at first, and the API server refuses every
//! change of such fields. So what would undo the injection is put back; whatever else the manifest changes stays changed,
//! and is refused or not as it would have been.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, PodSpec, Volume};

use super::environment::{self, expanded_again, expansions, split};
use super::parts::{ENV_VOLUME, SOURCE_VOLUME, is_ours};
use super::record::Record;
use super::volumes;
use crate::api::names::{ANNOTATION_INJECTED, CSI_DRIVER};

/// The new state with the injected fields of the old one; `None` if nothing has to be put back.
pub fn restore(old: &Pod, new: &Pod) -> Option<Pod> {
    let record = Record::of(old)?;
    let mut restored = new.clone();
    restore_annotation(old, &mut restored);
    if let (Some(old), Some(new)) = (&old.spec, &mut restored.spec) {
        restore_volumes(old, new, &record);
        restore_copier(old, new);
        let init = old.init_containers.as_deref().unwrap_or_default();
        let new_init = new.init_containers.as_deref_mut().unwrap_or_default();
        restore_containers(init, new_init, &record);
        restore_containers(&old.containers, &mut new.containers, &record);
    }
    (restored != *new).then_some(restored)
}

fn restore_annotation(old: &Pod, new: &mut Pod) {
    let text = old.metadata.annotations.as_ref();
    if let Some(text) = text.and_then(|all| all.get(ANNOTATION_INJECTED)) {
        let annotations = new.metadata.annotations.get_or_insert_default();
        let of_ours = annotations.entry(ANNOTATION_INJECTED.to_owned());
        of_ours.or_insert_with(|| text.clone());
    }
}

fn restore_volumes(old: &PodSpec, new: &mut PodSpec, record: &Record) {
    let before = old.volumes.as_deref().unwrap_or_default();
    for volume in before {
        let is_part = [ENV_VOLUME, SOURCE_VOLUME].contains(&volume.name.as_str());
        let after = new.volumes.iter_mut().flatten();
        let after = after.into_iter().find(|other| other.name == volume.name);
        match after {
            Some(other) if is_undone(volume, other, record) => *other = volume.clone(),
            None if is_part => new.volumes.get_or_insert_default().push(volume.clone()),
            Some(_) | None => {}
        }
    }
    if let Some(after) = &mut new.volumes {
        order(before, after, |volume| &volume.name);
    }
}

/// Whether the volume is the injected one but for what it was before. A patch of the manifest leaves both in place.
fn is_undone(old: &Volume, new: &Volume, record: &Record) -> bool {
    let driven = old.csi.as_ref().is_some_and(|csi| csi.driver == CSI_DRIVER);
    let bare = Volume {
        csi: None,
        ..new.clone()
    };
    let replaced = volumes::replaced(&bare, &|name| record.managed(name));
    driven && replaced.is_ok_and(|replaced| replaced.as_ref() == Some(old))
}

fn restore_copier(old: &PodSpec, new: &mut PodSpec) {
    let before = old.init_containers.as_deref().unwrap_or_default();
    let Some(copier) = before.iter().find(|container| is_ours(container)) else {
        return;
    };
    let after = new.init_containers.get_or_insert_default();
    if !after.iter().any(|container| container.name == copier.name) {
        after.push(copier.clone());
    }
    order(before, after, |container| &container.name);
}

fn restore_containers(old: &[Container], new: &mut [Container], record: &Record) {
    for container in new {
        if let Some(old) = old.iter().find(|old| old.name == container.name) {
            restore_environment(old, container, record);
        }
    }
}

fn restore_environment(old: &Container, new: &mut Container, record: &Record) {
    let (before, after) = (old.env_from.as_deref(), new.env_from.as_deref());
    let expected = expansions(old, record);
    let (standing, own) = split(old.env.clone().unwrap_or_default(), expected.clone());
    let again = expanded_again(after.unwrap_or_default(), record.expanded(old), record);
    let is_named =
        again.is_some_and(|(made, rest)| made == standing && rest == before.unwrap_or_default());
    if is_named {
        new.env_from.clone_from(&old.env_from);
    }
    let env = new.env.iter().flatten();
    let env: Vec<_> = env.map(|variable| forward(variable, record)).collect();
    // A patch of the manifest leaves in place what stands for `envFrom`; the manifest itself never had it. One that has neither
    // takes the variables away.
    let is_bare = is_named && env == own;
    let (left, rest) = split(env, expected);
    if is_bare || (rest == own && (is_named || left == standing)) {
        new.env.clone_from(&old.env);
    }
}

/// A variable as the injection would make it. A patch of the manifest leaves both of its sources in place.
fn forward(variable: &EnvVar, record: &Record) -> EnvVar {
    let mut bare = variable.clone();
    if let Some(source) = &mut bare.value_from
        && source.secret_key_ref.is_some()
    {
        source.file_key_ref = None;
    }
    let replaced = environment::replaced(&bare, &|name| record.managed(name));
    replaced.unwrap_or_else(|| variable.clone())
}

/// Gives a list the order of an earlier one with the same names.
fn order<T>(before: &[T], after: &mut [T], name: fn(&T) -> &String) {
    let place = |one: &T| before.iter().position(|other| name(other) == name(one));
    if before.len() == after.len() && after.iter().all(|one| place(one).is_some()) {
        after.sort_by_key(place);
    }
}
