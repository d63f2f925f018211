//! The corpus: `NN-name.yaml` is a pod as the webhook gets it, with what it is about in its first line, and
//! `NN-name.out.yaml` what becomes of it.

use std::{env, fmt::Write as _, fs, path::PathBuf};

use k8s_openapi::api::core::v1::Pod;
use keystead::api::names::ANNOTATION_INJECTED;
use keystead::inject::{Injected, Refusal, patch, restore};
use serde_json::Value;

use super::cluster::Cluster;

const REMEDY: &str = "see tests/inject/main.rs";

/// One pod of the corpus.
struct Case {
    name: String,
    pod: Pod,
    cluster: Cluster,
    expected: PathBuf,
}

impl Case {
    fn injected(&self) -> Option<Injected> {
        self.cluster.inject(&self.pod).ok()
    }
}

fn corpus() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/inject/corpus");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("a folder can be listed").file_name())
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".yaml")?.to_owned()))
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    let cases = names.into_iter().map(|name| {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("it can be read");
        assert!(text.starts_with("# "), "{name}: say what it is about");
        let kubelet = text
            .lines()
            .find_map(|line| line.strip_prefix("# kubelet "));
        Case {
            pod: serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")),
            cluster: Cluster::new(kubelet),
            expected: folder.join(format!("{name}.out.yaml")),
            name,
        }
    });
    cases.collect()
}

#[test]
fn every_pod_of_the_corpus_becomes_what_was_reviewed() {
    let corpus = corpus();
    assert!(corpus.len() >= 40, "only {} pods were found", corpus.len());
    let mut wrong = Vec::new();
    for case in &corpus {
        let answer = written(&case.cluster.inject(&case.pod));
        if env::var_os("UPDATE").is_some_and(|value| value == "1") {
            fs::write(&case.expected, &answer).expect("the answer can be written");
        }
        if fs::read_to_string(&case.expected).unwrap_or_default() != answer {
            wrong.push(format!("{}:\n{answer}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{REMEDY}:\n{}", wrong.join("\n"));
}

#[test]
fn every_pod_is_left_as_it_is_when_it_is_looked_at_again() {
    for case in corpus() {
        let Some(injected) = case.injected() else {
            continue;
        };
        let again = case.cluster.inject(&injected.pod);
        let again = again.unwrap_or_else(|refusal| panic!("{}: {refusal}", case.name));
        assert!(!again.changed, "{}", case.name);
        assert_eq!(case.cluster.leftover(&injected.pod), None, "{}", case.name);
    }
}

#[test]
fn the_patch_of_every_pod_makes_it_what_it_becomes_and_replaces_no_list() {
    for case in corpus() {
        let Some(injected) = case.injected() else {
            continue;
        };
        let patch = patch(&case.pod, &injected.pod);
        let mut patched = serde_json::to_value(&case.pod).unwrap();
        let operations = patch.as_array().unwrap();
        let replaced = operations
            .iter()
            .any(|operation| operation["op"] == "replace" && operation["value"].is_array());
        assert!(!replaced, "{}: {patch}", case.name);
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(
            patched,
            serde_json::to_value(&injected.pod).unwrap(),
            "{}",
            case.name
        );
    }
}

#[test]
fn every_manifest_can_be_applied_again() {
    for case in corpus() {
        let Some(injected) = case.injected() else {
            continue;
        };
        let annotations = case.pod.metadata.annotations.as_ref();
        if annotations.is_some_and(|all| all.contains_key(ANNOTATION_INJECTED)) {
            continue;
        }
        let restored = restore(&injected.pod, &case.pod).unwrap_or_else(|| case.pod.clone());
        assert_eq!(restored, injected.pod, "{}", case.name);
    }
}

fn written(answer: &Result<Injected, Refusal>) -> String {
    let mut text = String::new();
    match answer {
        Err(refusal) => {
            text.push_str("# refused\n");
            for reason in &refusal.reasons {
                let _ = writeln!(text, "- {reason}");
            }
            if refusal.more > 0 {
                let _ = writeln!(text, "- and {} more", refusal.more);
            }
        }
        Ok(injected) => {
            text.push_str(if injected.changed {
                "# admitted\n"
            } else {
                "# admitted unchanged\n"
            });
            for warning in &injected.warnings {
                let _ = writeln!(text, "# warning: {warning}");
            }
            if injected.changed {
                let pod: Value = serde_json::to_value(&injected.pod).expect("a pod is JSON");
                text.push_str(&serde_saphyr::to_string(&pod).expect("JSON is YAML"));
            }
        }
    }
    text
}
