//! What becomes of a pod that refers to sealed secrets, so that its manifest stays as it is. Pure: what is known of the cluster is
//! an argument, and the webhooks only ask and answer.
//!
//! ```text
//! references  every field of a pod that names a Secret
//! volumes     a volume of Secrets is one of the CSI driver
//! environment a variable that comes from a Secret comes from a file
//! parts       the init container and the volumes that make those files; resources: what it asks for
//! env         which values can travel so, and how the file is written
//! record      what was replaced, in an annotation
//! restore     what an update of the same manifest would undo
//! patch       the difference of two pods, as JSON patch
//! ```
//!
//! No command, no argument and no image of a container is ever changed or looked at.

pub mod env;
mod environment;
mod parts;
mod patch;
mod record;
mod references;
mod refusal;
mod resources;
mod restore;
mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

pub use self::parts::{ENV_CONTAINER, ENV_VOLUME, SOURCE_VOLUME};
pub use self::patch::patch;
pub use self::refusal::{Refusal, Refused};
pub use self::restore::restore;

use self::environment::Environment;
use self::parts::{Files, Present};
use self::record::Record;
use self::references::{Reference, Way};
use self::refusal::{Findings, shown};
use crate::api::managed_secret::Undeliverable;
use crate::api::names::{ANNOTATION_INJECT, INJECT_DISABLED, INJECT_ENABLED};

/// On the image of a static pod that kubelet shows in the API. kubelet runs what is in its file, whatever is changed here.
const ANNOTATION_MIRROR: &str = "kubernetes.io/config.mirror";
/// The label of nodes that pods choose their operating system by.
const LABEL_OS: &str = "kubernetes.io/os";
/// The operating system that has no plugin.
const WINDOWS: &str = "windows";
/// What everything has as a remedy.
const PLAIN: &str = "set spec.target.form: Plain on it";

/// What is known where the pod is created.
pub struct Surroundings<'a> {
    /// The namespace of the request: a pod of a controller may not say its own yet.
    pub namespace: &'a str,
    /// The `ManagedSecret` behind the name of a native Secret of that namespace, if there is one and it is not of form Plain.
    pub lookup: &'a dyn Fn(&str) -> Option<Referred>,
    /// Whether variables can be delivered.
    pub env: EnvDelivery,
    /// What makes the files that variables come from.
    pub copier: &'a Copier,
}

/// A `ManagedSecret` that is not Plain, behind the name of a native Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referred {
    /// Its name.
    pub secret: String,
    /// What pods find in it; `None` while it has no value.
    pub keys: Option<Vec<KeyFacts>>,
    /// The native Secret of that name is somebody else's, who this says: pods use that one.
    pub taken: Option<String>,
}

/// What is known of a key without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// The key, as pods name it.
    pub name: String,
    /// Why its value cannot be an environment variable, if it cannot.
    pub undeliverable: Option<Undeliverable>,
}

/// Whether every kubelet of the cluster can take variables from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvDelivery {
    /// It can.
    Possible,
    /// One cannot, and would set the variable to nothing without a word.
    Impossible {
        /// Which, such as `node n1 runs kubelet 1.33`.
        why: String,
    },
}

/// What makes the files that variables come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copier {
    /// The image of Keystead.
    pub image: String,
    /// When it is pulled; it is on every node already.
    pub pull_policy: Option<String>,
}

/// A pod that is admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// As it shall be.
    pub pod: Pod,
    /// Whether it differs from what was asked about.
    pub changed: bool,
    /// What its user should know.
    pub warnings: Vec<String>,
}

/// Replaces the references of a pod to sealed secrets. Asked about its own answer, it changes nothing.
///
/// # Errors
/// The pod cannot have what it asks for; all reasons are told.
pub fn inject(pod: &Pod, around: &Surroundings<'_>) -> Result<Injected, Refusal> {
    let mut findings = Findings::default();
    let mut injected = pod.clone();
    if let Some(spec) = pod.spec.as_ref().filter(|_| !is_mirror(pod)) {
        let references = references::of(spec);
        let known = Known::of(&references, around, &mut findings);
        let choice = choice(pod);
        if choice == Some(INJECT_DISABLED) {
            known.warn_of_opting_out(&mut findings);
        } else {
            if !known.sealed.is_empty() {
                check_choice(choice, &mut findings);
                replace(&mut injected, &references, &known, around, &mut findings);
            }
            if let Some(spec) = &mut injected.spec {
                parts::put_first(spec);
            }
        }
    }
    let warnings = findings.conclude()?;
    Ok(Injected {
        changed: injected != *pod,
        pod: injected,
        warnings,
    })
}

/// What of a pod would still have to be replaced once everybody had their say: somebody added it too late.
pub fn leftover(pod: &Pod, around: &Surroundings<'_>) -> Option<Refusal> {
    let spec = pod.spec.as_ref().filter(|_| !is_mirror(pod))?;
    if choice(pod) == Some(INJECT_DISABLED) {
        return None;
    }
    let references = references::of(spec);
    let mut findings = Findings::default();
    let known = Known::of(&references, around, &mut findings);
    for reference in &references {
        let Some(referred) = known.sealed(reference.name) else {
            continue;
        };
        if refuse_unservable(reference, referred, &known, &mut findings) {
            continue;
        }
        let secret = known.in_words(referred);
        let reason =
            format!("names {secret}, which is sealed, and was added after it was looked at");
        let remedy = "create the pod again; if it stays so, an admission webhook adds it each time it is asked again, which \
                      it must not";
        findings.refuse(&reference.path, reason, remedy);
    }
    findings.conclude().err()
}

/// The sealed secrets that a pod refers to.
struct Known<'a> {
    namespace: &'a str,
    /// By the names that the pod calls them.
    sealed: BTreeMap<String, Referred>,
}

impl<'a> Known<'a> {
    fn of(
        references: &[Reference<'_>],
        around: &Surroundings<'a>,
        findings: &mut Findings,
    ) -> Self {
        let mut sealed = BTreeMap::new();
        for Reference { path, name, .. } in references {
            if sealed.contains_key(*name) {
                continue;
            }
            let referred = (around.lookup)(name);
            if let Some(whose) = referred.as_ref().and_then(|r| r.taken.as_ref()) {
                findings.warn(format!(
                    "{path}: Secret {} is used as it is, though a ManagedSecret claims its name ({whose})",
                    shown(name)
                ));
            }
            sealed.insert((*name).to_owned(), referred.filter(|r| r.taken.is_none()));
        }
        let sealed = sealed.into_iter();
        Self {
            namespace: around.namespace,
            sealed: sealed
                .filter_map(|(name, referred)| Some((name, referred?)))
                .collect(),
        }
    }

    fn sealed(&self, name: &str) -> Option<&Referred> {
        self.sealed.get(name)
    }

    fn managed(&self, name: &str) -> Option<String> {
        self.sealed(name).map(|referred| referred.secret.clone())
    }

    fn in_words(&self, referred: &Referred) -> String {
        format!("ManagedSecret {}/{}", self.namespace, referred.secret)
    }

    fn warn_of_opting_out(&self, findings: &mut Findings) {
        for (name, referred) in &self.sealed {
            findings.warn(format!(
                "{ANNOTATION_INJECT}: {INJECT_DISABLED} leaves Secret {name} to kubelet, which finds no value in it: {} is sealed",
                self.in_words(referred)
            ));
        }
    }
}

fn replace(
    pod: &mut Pod,
    references: &[Reference<'_>],
    known: &Known<'_>,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) {
    let mut record = Record::of(pod).unwrap_or_default();
    let Some(spec) = &mut pod.spec else {
        return;
    };
    for reference in references {
        if let Some(referred) = known.sealed(reference.name) {
            refuse_unservable(reference, referred, known, findings);
        }
    }
    if let Some(field) = windows(spec) {
        let reason = "wants a node with Windows, where sealed secrets cannot be delivered";
        return findings.refuse(
            field,
            reason,
            "set spec.target.form: Plain on the ManagedSecrets",
        );
    }
    replace_volumes(spec, known, &mut record, findings);
    let mut variables = references.iter().filter(|reference| {
        reference.way == Way::Environment && known.sealed(reference.name).is_some()
    });
    if let Some(first) = variables.next() {
        let first = (first.path.as_str(), variables.count());
        replace_variables(spec, known, first, around, &mut record, findings);
    }
    record.put(pod);
}

fn replace_volumes(
    spec: &mut PodSpec,
    known: &Known<'_>,
    record: &mut Record,
    findings: &mut Findings,
) {
    for volume in spec.volumes.iter_mut().flatten() {
        match volumes::replaced(volume, &|name| known.managed(name)) {
            Ok(None) => {}
            Ok(Some(replaced)) => {
                let secret = volume
                    .secret
                    .iter()
                    .filter_map(|s| s.secret_name.as_deref());
                let projected = volume.projected.iter().flat_map(|p| &p.sources).flatten();
                let projected = projected.filter_map(|s| Some(s.secret.as_ref()?.name.as_str()));
                let named = secret.chain(projected);
                let named = named.filter_map(|name| Some((name.to_owned(), known.managed(name)?)));
                record.secrets.extend(named);
                *volume = replaced;
            }
            Err(refused) => {
                let remedy =
                    "make two volumes of it, or set spec.target.form: Plain on the ManagedSecret";
                let remedy = match refused {
                    volumes::VolumeRefused::Mixed { .. } => remedy,
                    volumes::VolumeRefused::Invalid(_) => "correct it",
                };
                let at = references::volume_place(volume);
                findings.refuse(at, refused.to_string(), remedy);
            }
        }
    }
}

fn replace_variables(
    spec: &mut PodSpec,
    known: &Known<'_>,
    (first, more): (&str, usize),
    around: &Surroundings<'_>,
    record: &mut Record,
    findings: &mut Findings,
) {
    if let EnvDelivery::Impossible { why } = &around.env {
        let others = match more {
            0 => String::new(),
            more => format!(" (and {more} more do)"),
        };
        let reason = format!(
            "takes a variable from a sealed secret{others}, which needs kubelet 1.35 on every node, and {why}"
        );
        let remedy = "mount the secret as a volume, update the node, or set spec.target.form: Plain on the ManagedSecret";
        return findings.refuse(first, reason, remedy);
    }
    let mut files = match parts::present(spec) {
        Present::No => {
            // What an earlier pod said of itself is not said of this one.
            record.env_from.clear();
            Files::default()
        }
        Present::Yes(files) => files,
        Present::Taken(what) => {
            let reason = format!(
                "takes a variable from a sealed secret, for which a {what} is needed, and the pod has another of that name"
            );
            return findings.refuse(first, reason, "give that another name");
        }
    };
    let mut environment = Environment {
        known,
        findings,
        record,
        files: &mut files,
    };
    for container in spec.init_containers.iter_mut().flatten() {
        environment.replace(
            &references::place("initContainers", &container.name),
            container,
        );
    }
    for container in &mut spec.containers {
        environment.replace(&references::place("containers", &container.name), container);
    }
    if !files.is_empty() {
        parts::put(spec, &files, around.copier, findings);
    }
}

/// Refuses a reference that nobody can serve; whether it is one.
fn refuse_unservable(
    reference: &Reference<'_>,
    referred: &Referred,
    known: &Known<'_>,
    findings: &mut Findings,
) -> bool {
    let secret = known.in_words(referred);
    let (why, remedy) = match reference.way {
        Way::Volume | Way::Environment => return false,
        Way::Pull => ("kubelet cannot pull images with it", PLAIN),
        Way::Storage => ("a storage driver cannot log in with it", PLAIN),
        Way::Ephemeral => (
            "a container that is added to a running pod cannot get it",
            "leave the variable out and read the value from a volume of the pod, or set spec.target.form: Plain on it",
        ),
    };
    let reason = format!("names {secret}, which is sealed, and {why}");
    findings.refuse(&reference.path, reason, remedy);
    true
}

fn is_mirror(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(ANNOTATION_MIRROR))
}

/// What the user of the pod says of it.
fn choice(pod: &Pod) -> Option<&str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION_INJECT).map(String::as_str)
}

fn check_choice(choice: Option<&str>, findings: &mut Findings) {
    let unknown = choice.filter(|choice| *choice != INJECT_ENABLED);
    if let Some(unknown) = unknown {
        findings.refuse(
            format!("metadata.annotations[{ANNOTATION_INJECT}]"),
            format!("is {:?}, which means nothing", shown(unknown)),
            format!("{INJECT_DISABLED} leaves references to Secrets as they are; without it they are replaced"),
        );
    }
}

/// The field by which a pod wants Windows.
fn windows(spec: &PodSpec) -> Option<&'static str> {
    if spec.os.as_ref().is_some_and(|os| os.name == WINDOWS) {
        return Some("spec.os.name");
    }
    let selector = spec.node_selector.as_ref()?.get(LABEL_OS)?;
    (selector == WINDOWS).then_some("spec.nodeSelector[kubernetes.io/os]")
}
