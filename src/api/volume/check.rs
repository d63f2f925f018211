//! The bounds of names and paths.

use std::collections::BTreeSet;

use super::{MAX_NAME, VolumeError, VolumeItem, VolumeSource};
use crate::api::names::is_object_name;

/// Longest path of a file, as Kubernetes has it for its own volumes.
pub const MAX_PATH: usize = 4096;
/// Longest name of a file or folder, as Kubernetes has it for its own volumes and Linux for all.
const MAX_FILE_NAME: usize = 255;
/// Most folders in the path of a file, which keeps whoever walks them from going too deep.
const MAX_DEPTH: usize = 64;

/// The path with what has no meaning in it left out, as kubelet does: `./a//b` is `a/b`.
pub fn clean_path(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

pub(super) fn check_names(source: &VolumeSource) -> Result<(), VolumeError> {
    let secret = &source.secret;
    if !is_object_name(secret) {
        let shown = secret.chars().take(MAX_NAME).collect();
        return Err(VolumeError::SecretName(shown));
    }
    for VolumeItem { key, path, .. } in &source.items {
        let (secret, shown) = (secret.clone(), key.chars().take(MAX_NAME).collect());
        if key.is_empty() || key.len() > MAX_NAME {
            return Err(VolumeError::Key { secret, key: shown });
        }
        if let Some(problem) = path_problem(path) {
            return Err(VolumeError::Path {
                secret,
                key: shown,
                problem,
            });
        }
    }
    Ok(())
}

/// The rules of Kubernetes for the paths of items. What begins with `..` is the writer's own.
fn path_problem(path: &str) -> Option<&'static str> {
    if path.len() > MAX_PATH {
        return Some("it is longer than 4096 characters");
    }
    if path.starts_with('/') {
        return Some("it must be relative to the volume");
    }
    if path.starts_with("..") || path.split('/').any(|part| part == "..") {
        return Some("it must not start with \"..\" nor contain it");
    }
    if path.contains('\0') {
        return Some("it must not contain a NUL character");
    }
    let clean = clean_path(path);
    if clean.is_empty() {
        return Some("it must name a file");
    }
    // `./..data` would be another spelling of it.
    if clean.starts_with("..") {
        return Some("it must not start with \"..\" nor contain it");
    }
    if clean.matches('/').count() > MAX_DEPTH {
        return Some("it has more than 64 folders");
    }
    let long = |part: &str| part.len() > MAX_FILE_NAME;
    let long = clean.split('/').any(long);
    long.then_some("a file or folder in it has a name longer than 255 characters")
}

/// No item's path is another's, nor a folder of another's.
pub(super) fn check_places(sources: &[VolumeSource]) -> Result<(), VolumeError> {
    let items = sources.iter().flat_map(|source| &source.items);
    let mut files = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for path in items.map(|item| clean_path(&item.path)) {
        let above = path
            .match_indices('/')
            .map(|(end, _)| path[..end].to_owned());
        folders.extend(above);
        if !files.insert(path.clone()) {
            return Err(VolumeError::SamePath(path));
        }
    }
    match files.intersection(&folders).next() {
        Some(path) => Err(VolumeError::SamePath(path.clone())),
        None => Ok(()),
    }
}
