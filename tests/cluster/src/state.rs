//! The folder a cluster lives in.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    components::{recorded, write_json},
    hex::hex,
    process::Identity,
};

const PREFIX: &str = "keystead-cp-";
const OWNER: &str = "owner.json";

/// Names of everything below the state folder.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    path: PathBuf,
}

/// What another process has to know to use the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Where clients reach the API server.
    pub(crate) address: IpAddr,
    pub(crate) api_port: u16,
    pub(crate) controller_port: u16,
    pub(crate) etcd_port: u16,
    pub(crate) etcd_peer_port: u16,
}

impl StateDir {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).context("make the state folder's path absolute")?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A name for what two clusters on one machine must not share.
    pub(crate) fn id(&self) -> String {
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        format!("keystead-{}", hex(&digest[..4]))
    }

    /// The path as the text of an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.join("pki")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.join("run")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.join("kubeconfig")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.join("logs/audit.log")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn create(&self) -> Result<()> {
        for folder in ["logs", "run", "config"] {
            let folder = self.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        }
        Ok(())
    }

    pub(crate) fn write_layout(&self, layout: &Layout) -> Result<()> {
        write_json(&self.join("layout.json"), layout)
    }

    pub(crate) fn read_layout(&self) -> Result<Layout> {
        let path = self.join("layout.json");
        let bytes =
            fs::read(&path).with_context(|| format!("no cluster in {}", self.path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))
    }
}

/// A folder that goes with this process. What killed processes left is removed on the way.
pub(crate) fn temporary() -> Result<TempDir> {
    sweep(&env::temp_dir());
    let dir = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir()
        .context("create a folder")?;
    let owner = Identity::of(std::process::id()).context("find this process")?;
    write_json(&dir.path().join(OWNER), &owner)?;
    Ok(dir)
}

/// Whether the user wants to look at what a test left.
pub(crate) fn keep_requested() -> bool {
    env::var_os("KEYSTEAD_KEEP").is_some_and(|value| value == "1")
}

/// Removes the folders of owners that were killed. Their processes died with them.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(owner) = fs::read(path.join(OWNER)) else {
            continue;
        };
        let Ok(owner) = serde_json::from_slice::<Identity>(&owner) else {
            continue;
        };
        let running = recorded(&path.join("run")).unwrap_or_default();
        if owner.alive() || running.iter().any(|(_, identity)| identity.alive()) {
            continue;
        }
        // Best effort: two processes may sweep at the same time.
        let _ = fs::remove_dir_all(&path);
    }
}

/// Keeps the folder, if asked, by removing what marks it as swept with its owner.
pub(crate) fn keep(dir: TempDir) {
    let path = dir.keep();
    let _ = fs::remove_file(path.join(OWNER));
    eprintln!("kept {}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_owners_that_are_gone_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let owner = Identity::of(child.id()).unwrap();
        let (left, kept) = (
            folder.path().join("keystead-cp-owned"),
            folder.path().join("other"),
        );
        for dir in [&left, &kept] {
            fs::create_dir(dir).unwrap();
            write_json(&dir.join(OWNER), &owner).unwrap();
        }

        sweep(folder.path());
        assert!(left.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        sweep(folder.path());
        assert!(!left.exists());
        assert!(kept.exists());
    }
}
