//! What a control plane held when it was stopped: a new one that starts from it has all that at once.
//!
//! Most of the time until a control plane is of use goes into what every one of them does alike: the API server writes its
//! first roles and namespaces, a chart is installed, its definitions are published. That is done once and kept in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{
    binaries::{Binaries, Set, cache_dir},
    control_plane::{ControlPlane, Options},
    hex::hex,
};

/// What of a state folder is kept: keys with certificates, and etcd's data.
const KEPT: [&str; 2] = ["pki", "etcd"];
const UNFINISHED: &str = ".new-";
/// A snapshot that no control plane started from for so long is removed.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// A folder with what a control plane held.
#[derive(Debug, Clone)]
pub struct Snapshot {
    dir: PathBuf,
}

impl Snapshot {
    /// The one of that content, made once: `fill` puts into a fresh control plane what it shall hold. `content` is anything that
    /// changes when that would.
    pub async fn cached(content: &[u8], fill: impl AsyncFnOnce(&ControlPlane)) -> Result<Self> {
        let root = cache_dir()?.join("control-planes");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let lock = fs::File::create(root.join(".lock")).context("create the lock")?;
        // Another process may be at it.
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
        let _lock = lock.await?.context("take the lock")?;
        let dir = root.join(name(content)?);
        if !dir.exists() {
            remove_unused(&root)?;
            make(&root, &dir, fill).await?;
        }
        Ok(Self { dir })
    }

    /// Puts what was kept into the folder of a control plane that does not run.
    pub(crate) fn restore(&self, state: &Path) -> Result<()> {
        for part in KEPT {
            copy(&self.dir.join(part), &state.join(part))?;
        }
        // Says when it was of use.
        fs::File::open(&self.dir)?.set_modified(SystemTime::now())?;
        Ok(())
    }
}

async fn make(root: &Path, dir: &Path, fill: impl AsyncFnOnce(&ControlPlane)) -> Result<()> {
    let cluster = ControlPlane::start(Options::default()).await?;
    fill(&cluster).await;
    for component in cluster
        .components()
        .iter()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        component.stop().await?;
    }
    let new = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(root)?;
    for part in KEPT {
        copy(&cluster.dir().join(part), &new.path().join(part))?;
    }
    fs::rename(new.keep(), dir).with_context(|| format!("put {} in place", dir.display()))
}

/// A name that changes with the content and with the programs.
fn name(content: &[u8]) -> Result<String> {
    let programs = Binaries::ensure(&[Set::ControlPlane])?;
    let mut hash = Sha256::new();
    for (_, path) in programs.iter() {
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update([0]);
    }
    hash.update(content);
    Ok(hex(&hash.finalize()[..8]))
}

/// Removes what builds left that were killed, and what nobody uses any more. The caller holds the lock.
fn remove_unused(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).context("list snapshots")?.flatten() {
        let is_dir = entry.file_type()?.is_dir();
        let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if is_dir && (unfinished || age > UNUSED) {
            fs::remove_dir_all(entry.path()).context("remove an old snapshot")?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to).with_context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(())
}
