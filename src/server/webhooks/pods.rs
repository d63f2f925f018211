//! The questions about pods of namespaces that opted in: what is put into one that is made, whether anything is left at the end, and
//! what an update of the same manifest would undo.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::admission::{AdmissionRequest, Change};
use crate::api::managed_secret::Form;
use crate::inject::{self, Copier, EnvDelivery, KeyFacts, Referred, Surroundings};
use crate::server::catalogue::{Catalogue, Entry};
use crate::server::kubelets::Kubelets;

/// What is known where pods are made.
#[derive(Clone)]
pub(in crate::server) struct Injection {
    /// The secrets.
    pub(in crate::server) catalogue: Arc<Catalogue>,
    /// The kubelets.
    pub(in crate::server) kubelets: Arc<Kubelets>,
    /// What makes the files that variables come from.
    pub(in crate::server) copier: Arc<Copier>,
}

/// A question about pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What shall be changed of it?
    Inject,
    /// Is anything left that cannot be?
    Check,
    /// What of it was injected before, and is missing now?
    Restore,
}

/// Why a question is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The pod must not be made, and what to do about it.
    Denied(String),
    /// It is no pod.
    Malformed,
    /// It is not known yet which secrets there are.
    NotReady,
}

impl Injection {
    /// Answers.
    pub(super) fn answer(
        &self,
        question: Question,
        request: &AdmissionRequest,
    ) -> Result<Change, Refused> {
        if question == Question::Restore {
            return restored(request);
        }
        if !self.catalogue.is_ready() {
            return Err(Refused::NotReady);
        }
        // Not the namespace that the pod names: that of a pod of a controller may be empty still.
        let lookup = |name: &str| {
            let entry = self.catalogue.by_target(&request.namespace, name)?;
            referred(&entry)
        };
        let around = Surroundings {
            namespace: &request.namespace,
            lookup: &lookup,
            env: match self.kubelets.refuse_files() {
                None => EnvDelivery::Possible,
                Some(why) => EnvDelivery::Impossible { why },
            },
            copier: &self.copier,
        };
        let pod = pod(&request.object)?;
        if question == Question::Check {
            return match inject::leftover(&pod, &around) {
                None => Ok(Change::default()),
                Some(refusal) => Err(Refused::Denied(refusal.to_string())),
            };
        }
        let injected = inject::inject(&pod, &around);
        let injected = injected.map_err(|refusal| Refused::Denied(refusal.to_string()))?;
        Ok(Change {
            patch: operations(&pod, &injected.pod),
            warnings: injected.warnings,
        })
    }
}

fn restored(request: &AdmissionRequest) -> Result<Change, Refused> {
    let (before, now) = (pod(&request.old_object)?, pod(&request.object)?);
    let restored = inject::restore(&before, &now);
    Ok(Change {
        patch: restored.map_or_else(Vec::new, |restored| operations(&now, &restored)),
        warnings: Vec::new(),
    })
}

fn pod(object: &Value) -> Result<Pod, Refused> {
    // Nothing is said of why: the error could quote what was sent.
    serde_json::from_value(object.clone()).map_err(|_| Refused::Malformed)
}

fn operations(from: &Pod, to: &Pod) -> Vec<Value> {
    match inject::patch(from, to) {
        Value::Array(operations) => operations,
        _ => Vec::new(),
    }
}

/// The secret behind the name of a native one, unless pods find plaintext there.
fn referred(entry: &Entry) -> Option<Referred> {
    let keys = entry.delivered_keys().map(|name| KeyFacts {
        name: name.to_owned(),
        undeliverable: entry.undeliverable(name),
    });
    (entry.form != Form::Plain).then(|| Referred {
        secret: entry.name.to_string(),
        keys: entry.revision.map(|_| keys.collect()),
        taken: entry.taken.as_deref().map(str::to_owned),
    })
}
