//! The kubelets of the cluster. A variable can come from a file only where every kubelet knows how (KEP-3721, on by default since
//! Kubernetes 1.35): an older one sets it to nothing and says nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tracing::warn;

use crate::telemetry::Component;
use crate::telling::describe_watch;
use crate::watching::watch_selected;

/// The first minor version of Kubernetes 1 whose kubelet takes variables from files without being asked to.
const FILES_SINCE: u32 = 35;

/// What is known of the kubelets.
#[derive(Debug, Default)]
pub(super) struct Kubelets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The versions of those of which all is listed, by their nodes.
    nodes: BTreeMap<String, String>,
    /// Those of a list that is not complete.
    listed: HashMap<String, String>,
    /// Whether all were listed once.
    is_complete: bool,
}

impl Kubelets {
    /// Follows the nodes for ever.
    pub(super) async fn follow(&self, client: Client, component: &Component) {
        component.not_ready("the nodes are not listed yet");
        let nodes = watch_selected(Api::<Node>::all(client), watcher::Config::default());
        pin_mut!(nodes);
        while let Some(event) = nodes.next().await {
            match event {
                Ok(event) => {
                    if self.known().take(event) {
                        component.ready();
                    }
                }
                Err(error) => {
                    let error = describe_watch(&error);
                    warn!(error, "the watch of nodes broke; it is taken up again");
                }
            }
        }
    }

    /// Why variables cannot come from files, if they cannot.
    pub(super) fn refuse_files(&self) -> Option<String> {
        self.known().refuse_files()
    }

    /// The same of the kubelet of one node.
    pub(super) fn refuse_files_on(&self, node: &str) -> Option<String> {
        self.known().refuse_files_on(node)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes note of an event; whether all nodes are known now.
    fn take(&mut self, event: Event<Node>) -> bool {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(node) => {
                if let Some((name, version)) = kubelet(&node) {
                    self.listed.insert(name, version);
                }
            }
            Event::InitDone => {
                self.nodes = self.listed.drain().collect();
                self.is_complete = true;
            }
            Event::Apply(node) => {
                let name = node.name_any();
                match kubelet(&node) {
                    Some((name, version)) => self.nodes.insert(name, version),
                    None => self.nodes.remove(&name),
                };
            }
            Event::Delete(node) => {
                self.nodes.remove(&node.name_any());
            }
        }
        self.is_complete
    }

    fn refuse_files(&self) -> Option<String> {
        if !self.is_complete {
            return Some(
                "it is not known yet which kubelets the cluster has; try again".to_owned(),
            );
        }
        let (node, version) = self
            .nodes
            .iter()
            .find(|(_, version)| !knows_files(version))?;
        Some(cannot(node, version))
    }

    fn refuse_files_on(&self, node: &str) -> Option<String> {
        match self.nodes.get(node) {
            Some(version) if knows_files(version) => None,
            Some(version) => Some(cannot(node, version)),
            None => Some(format!(
                "it is not known yet which kubelet node {node} runs; try again"
            )),
        }
    }
}

fn cannot(node: &str, version: &str) -> String {
    format!(
        "node {node} runs kubelet {version}, which cannot take a variable from a file (1.{FILES_SINCE} and later can)"
    )
}

/// The node's name and the version of its kubelet. A Windows node runs no pod of Linux.
fn kubelet(node: &Node) -> Option<(String, String)> {
    let info = node.status.as_ref()?.node_info.as_ref()?;
    let is_linux = info.operating_system != "windows";
    is_linux.then(|| (node.name_any(), info.kubelet_version.clone()))
}

/// Whether a kubelet of that version, such as `v1.36.3` or `v1.35.1-gke.12`, takes variables from files. One whose version is no version
/// does not.
fn knows_files(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    let mut number = || parts.next()?.parse::<u32>().ok();
    match (number(), number()) {
        (Some(1), Some(minor)) => minor >= FILES_SINCE,
        (Some(major), Some(_)) => major > 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, version: &str, os: &str) -> Node {
        let info = json!({
            "kubeletVersion": version, "operatingSystem": os, "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
        });
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"nodeInfo": info}}))
            .unwrap()
    }

    #[test]
    fn a_version_is_read_as_kubelets_of_all_distributions_write_it() {
        for (version, knows) in [
            ("v1.36.3", true),
            ("v1.35.0", true),
            ("1.35.0", true),
            ("v1.35.1-gke.1279000", true),
            ("v1.36.0+k3s1", true),
            ("v1.36-eks-abc", true),
            ("v2.0.0", true),
            ("v1.34.9", false),
            ("v1.4.0", false),
            ("v1", false),
            ("", false),
            ("v1.x.0", false),
        ] {
            assert_eq!(knows_files(version), knows, "{version}");
        }
    }

    #[test]
    fn one_old_kubelet_is_enough_and_is_named_until_it_is_gone() {
        let mut known = Known::default();
        assert!(known.refuse_files().unwrap().contains("not known yet"));
        known.take(Event::Init);
        known.take(Event::InitApply(node("a", "v1.36.3", "linux")));
        assert!(known.refuse_files().is_some(), "the list is not complete");
        assert!(known.take(Event::InitDone));
        assert_eq!(known.refuse_files(), None);
        known.take(Event::Apply(node("w", "v1.30.0", "windows")));
        assert_eq!(known.refuse_files(), None);
        known.take(Event::Apply(node("b", "v1.34.2", "linux")));
        let why = known.refuse_files().unwrap();
        assert!(why.contains("node b") && why.contains("v1.34.2"), "{why}");
        known.take(Event::Delete(node("b", "v1.34.2", "linux")));
        assert_eq!(known.refuse_files(), None);
    }

    #[test]
    fn where_a_pod_is_already_only_the_kubelet_there_counts() {
        let mut known = Known::default();
        let why = known.refuse_files_on("a").unwrap();
        assert!(why.contains("not known yet") && why.contains("node a"));
        known.take(Event::Apply(node("a", "v1.36.3", "linux")));
        known.take(Event::Apply(node("b", "v1.34.2", "linux")));
        assert_eq!(known.refuse_files_on("a"), None);
        let why = known.refuse_files_on("b").unwrap();
        assert!(why.contains("node b") && why.contains("v1.34.2"), "{why}");
    }

    #[test]
    fn a_list_that_is_made_anew_counts_when_it_is_complete() {
        let mut known = Known::default();
        known.take(Event::Init);
        known.take(Event::InitApply(node("a", "v1.34.0", "linux")));
        known.take(Event::InitDone);
        known.take(Event::Init);
        assert!(
            known.refuse_files().is_some(),
            "what was known holds until then"
        );
        known.take(Event::InitApply(node("a", "v1.36.0", "linux")));
        known.take(Event::InitDone);
        assert_eq!(known.refuse_files(), None);
    }
}
