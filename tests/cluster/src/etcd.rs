//! etcd from behind the API server: what is really stored, snapshots, restores and compaction.
//!
//! Speaks to etcd's JSON gateway with the API server's certificate.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use kube::Client;
use serde::Deserialize;
use serde_json::json;

use crate::{
    binaries::Binaries,
    certificates::Authority,
    components::Component,
    control_plane::ControlPlane,
    http::{self, Credential},
    process::run,
};

/// Keys per request.
const PAGE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the first and after the last key.
const ALL: &str = "AA==";

/// etcd of a running control plane.
#[derive(Debug, Clone, Copy)]
pub struct Etcd<'a> {
    cluster: &'a ControlPlane,
}

#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct SnapshotLine {
    result: SnapshotPart,
}

#[derive(Deserialize)]
struct SnapshotPart {
    #[serde(default)]
    blob: String,
}

impl<'a> Etcd<'a> {
    pub(crate) fn new(cluster: &'a ControlPlane) -> Self {
        Self { cluster }
    }

    /// Every key and its value as stored, at one revision, in the order of the keys.
    pub async fn dump(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let client = self.client()?;
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut start = ALL.to_owned();
        let mut revision = "0".to_owned();
        loop {
            let request =
                json!({"key": start, "range_end": ALL, "limit": PAGE, "revision": revision});
            let answer = http::post(&client, "/v3/kv/range", &request).await?;
            let page: Range = serde_json::from_str(&answer).context("read a page of keys")?;
            for pair in &page.kvs {
                found.push((BASE64.decode(&pair.key)?, BASE64.decode(&pair.value)?));
            }
            let Some((last, _)) = found.last().filter(|_| page.more) else {
                return Ok(found);
            };
            // The smallest key after the last one.
            start = BASE64.encode([last.as_slice(), &[0]].concat());
            if revision == "0" {
                revision = page.header.revision;
            }
        }
    }

    /// The keys whose value contains the bytes, as they are or in base64.
    pub async fn keys_containing(&self, needle: &[u8]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for (key, value) in self.dump().await? {
            if contains(&value, needle) || contains_base64(&value, needle) {
                found.push(String::from_utf8_lossy(&key).into_owned());
            }
        }
        Ok(found)
    }

    /// The files of etcd's data folder (database and write-ahead log) that contain the bytes, as they
    /// are or in base64: also what was overwritten or deleted long ago.
    pub fn files_containing(&self, needle: &[u8]) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.cluster.etcd_data()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let bytes = fs::read(&path)?;
                if contains(&bytes, needle) || contains_base64(&bytes, needle) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// The store's revision, which is also the newest resourceVersion.
    pub async fn revision(&self) -> Result<i64> {
        let request = json!({"key": ALL, "range_end": ALL, "count_only": true});
        let answer = http::post(&self.client()?, "/v3/kv/range", &request).await?;
        let range: Range = serde_json::from_str(&answer).context("read the revision")?;
        range
            .header
            .revision
            .parse()
            .context("a revision is a number")
    }

    /// Forgets all revisions but the newest: watches from older ones get "410 Gone".
    pub async fn compact(&self) -> Result<()> {
        let revision = self.revision().await?;
        let request = json!({"revision": revision.to_string(), "physical": true});
        http::post(&self.client()?, "/v3/kv/compaction", &request)
            .await
            .map(drop)
    }

    /// Gives the room of forgotten revisions back, so that their bytes leave the database file.
    pub async fn defragment(&self) -> Result<()> {
        http::post(&self.client()?, "/v3/maintenance/defragment", &json!({}))
            .await
            .map(drop)
    }

    /// Writes a backup that [`Self::restore`] and etcd's own tools read.
    pub async fn snapshot(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let answer = http::post(&self.client()?, "/v3/maintenance/snapshot", &json!({})).await?;
        let file = fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut file = BufWriter::new(file);
        for line in answer.lines().filter(|line| !line.is_empty()) {
            let line: SnapshotLine = serde_json::from_str(line).context("read a snapshot")?;
            file.write_all(&BASE64.decode(line.result.blob)?)?;
        }
        file.flush()
            .with_context(|| format!("write {}", path.display()))
    }

    /// Puts a backup in place of the data, as after a disaster: resourceVersions go back. The API server
    /// and the other clients of its watches are restarted around it.
    pub async fn restore(&self, snapshot: impl AsRef<Path>) -> Result<()> {
        self.restore_bumped(snapshot, None).await
    }

    /// The same, with all revisions moved ahead by that many and the older ones compacted, so that
    /// clients notice at once (what Kubernetes recommends).
    pub async fn restore_bumped(
        &self,
        snapshot: impl AsRef<Path>,
        bump: Option<u64>,
    ) -> Result<()> {
        let tool = Binaries::ensure_one("etcdutl")?;
        let data = self.cluster.etcd_data();
        let restored = data.with_extension("restored");
        let (name, peer) = self.cluster.etcd_peer();
        let cluster = format!("{name}={peer}");
        let bump = bump.map(|by| by.to_string());
        let (snapshot, target) = (text(snapshot.as_ref())?, text(&restored)?);
        let mut args = vec!["snapshot", "restore", snapshot, "--data-dir", target];
        args.extend(["--name", name, "--initial-cluster", &cluster]);
        args.extend(["--initial-advertise-peer-urls", &peer]);
        if let Some(bump) = &bump {
            args.extend(["--bump-revision", bump, "--mark-compacted"]);
        }
        run(tool, &args).context("restore a snapshot")?;

        let restarted = [
            Component::CoreDns,
            Component::KubeProxy,
            Component::Kubelet,
            Component::Scheduler,
            Component::ControllerManager,
            Component::ApiServer,
            Component::Etcd,
        ];
        let components = self.cluster.components();
        let running: Vec<_> = restarted
            .iter()
            .filter_map(|component| components.get(*component))
            .filter(|handle| handle.pid().is_some())
            .collect();
        ensure!(!running.is_empty(), "restore needs a running cluster");
        for handle in &running {
            handle.stop().await?;
        }
        fs::remove_dir_all(&data).context("remove etcd's data")?;
        fs::rename(&restored, &data).context("put the restored data in place")?;
        for handle in running.iter().rev() {
            handle.start().await?;
        }
        Ok(())
    }

    fn client(self) -> Result<Client> {
        let pki = self.cluster.pki();
        let identity = pki.read("apiserver-etcd-client")?;
        let authority = pki.authority_pem(Authority::Etcd)?;
        let url = self.cluster.etcd_url();
        let config = http::config(&url, &authority, Credential::Certificate(&identity))?;
        http::impatient(config, PATIENCE)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && hay.windows(needle.len()).any(|window| window == needle)
}

/// Whether the bytes occur in base64 of any text around them: encoded from each of the three offsets,
/// without the letters that depend on the neighbours.
fn contains_base64(hay: &[u8], needle: &[u8]) -> bool {
    // Shorter ones leave so few letters that they are found by chance.
    if needle.len() < 6 {
        return false;
    }
    (0..3).any(|offset| {
        let encoded = BASE64.encode([&[0; 2][..offset.min(2)], needle].concat());
        let letters = encoded.trim_end_matches('=').as_bytes();
        // `offset` bytes of padding decide the first letters; a partial last group decides the last.
        let first = [0, 2, 3][offset];
        let last = letters.len() - usize::from(!(offset + needle.len()).is_multiple_of(3));
        contains(hay, &letters[first..last])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_whatever_surrounds_the_bytes() {
        let needle = b"correct horse battery";
        for before in 0..4 {
            for after in 0..4 {
                let text = [&b"abcd"[..before], needle, &b"wxyz"[..after]].concat();
                let stored = format!("{{\"data\":\"{}\"}}", BASE64.encode(&text));
                assert!(
                    contains_base64(stored.as_bytes(), needle),
                    "{before} {after}"
                );
                assert!(!contains_base64(
                    stored.as_bytes(),
                    b"correct house battery"
                ));
            }
        }
    }

    #[test]
    fn an_empty_needle_is_found_nowhere() {
        assert!(!contains(b"anything", b""));
        assert!(!contains_base64(b"anything", b""));
    }
}
