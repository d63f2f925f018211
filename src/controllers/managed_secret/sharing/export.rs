//! What a source gives to other clusters: one native Secret with the current version, sealed for exactly the clusters that its spec
//! lists. It is written when the version, a recipient or its name changes, and when somebody else changed it; sealing twice never
//! gives the same bytes, so the truth remembers what was sealed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::delivery::target::{Owner, owned_by, owner_of, place_of};
use super::super::observe::Observed;
use super::super::spec::target_name;
use super::super::step::{Refusal, Step, TargetState, internal};
use super::exported::{ENTRY, Exported, name_of};
use crate::api::condition::NewCondition;
use crate::api::managed_secret::RecipientCluster;
use crate::api::names::{
    ANNOTATION_MANAGED_BY, ANNOTATION_TARGET, LABEL_MANAGED_BY, MANAGED_BY, REPLICA_SUFFIX,
    SECRET_TYPE_REPLICA,
};
use crate::api::{ManagedSecret, Reason};
use crate::controllers::error::{Error, call};
use crate::crypto::{Random, SealingKeyError, SealingPublicKey, seal_to};
use crate::hex::Hex;
use crate::secrets::{ExportRecord, Manifest, SecretValue};

/// Longest name of a Secret.
const MAX_NAME: usize = 253;

/// The Secret of the export's name, as it was found.
pub(crate) struct ExportSeen {
    pub(crate) state: TargetState,
    pub(crate) owner: Owner,
    pub(crate) type_: String,
    /// Whether the API server refuses changes of its data.
    pub(crate) immutable: bool,
    /// SHA-256 of its envelope.
    pub(crate) digest: Option<String>,
    /// What its annotations say.
    pub(crate) exported: Option<Exported>,
    /// Whether labels and owner are as they should be.
    pub(crate) dressed: bool,
}

/// An export to be written.
pub(crate) struct ExportWrite {
    /// Its name.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) exported: Exported,
    /// The envelope.
    pub(crate) envelope: Vec<u8>,
    /// The names of those who can open it.
    pub(crate) clusters: Vec<String>,
    /// The state that it was seen in; `None` if there was no such Secret, or it is deleted first.
    pub(crate) over: Option<TargetState>,
    /// Whether it was as it should be until somebody else changed it.
    pub(crate) repair: bool,
}

/// What is to be done about the export.
#[derive(Default)]
pub(crate) struct Exporting {
    pub(crate) steps: Vec<Step>,
    /// Whether exactly this is remembered as sealed, and only the Secret is not so. Then it comes before the truth, so that one that
    /// is refused again and again does not have the truth written again and again.
    pub(crate) again: bool,
    /// Whether it is deleted, which has to be looked at once more.
    pub(crate) goes: bool,
    /// Why it is not as it should be.
    problem: Option<String>,
}

/// Looks at the Secret of the export's name, if there shall be one or was one.
pub(crate) async fn look(
    seen: &Observed,
    secrets: &Api<Secret>,
) -> Result<Option<ExportSeen>, Error> {
    let recorded = seen.truth.manifest().and_then(Manifest::export);
    if recorded.is_none() && wanted(&seen.secret).is_empty() {
        return Ok(None);
    }
    let name = name_of(&seen.secret.name_any());
    if name.len() > MAX_NAME {
        return Ok(None);
    }
    let namespace = seen.secret.namespace().unwrap_or_default();
    let object = format!("Secret {namespace}/{name}");
    let found = call("get", object, secrets.get_opt(&name)).await?;
    Ok(found.map(|found| read(&found, &seen.secret)))
}

/// Whom the spec lists. A replica gives nothing, whatever a definition that was changed by hand lets it say.
pub(crate) fn wanted(secret: &ManagedSecret) -> &[RecipientCluster] {
    match &secret.spec.share_with {
        Some(share) if secret.spec.replica_of.is_none() => &share.clusters,
        _ => &[],
    }
}

/// Reads what matters of it.
pub(crate) fn read(secret: &Secret, managed: &ManagedSecret) -> ExportSeen {
    let envelope = secret.data.as_ref().and_then(|data| data.get(ENTRY));
    let uid = managed.uid();
    let owned = secret
        .owner_references()
        .iter()
        .any(|owner| Some(&owner.uid) == uid.as_ref());
    let labelled = secret
        .labels()
        .get(LABEL_MANAGED_BY)
        .is_some_and(|value| value == MANAGED_BY);
    ExportSeen {
        state: TargetState {
            name: secret.name_any(),
            uid: secret.uid().unwrap_or_default(),
            resource_version: secret.resource_version().unwrap_or_default(),
        },
        owner: owner_of(secret, managed),
        type_: secret.type_.clone().unwrap_or_default(),
        immutable: secret.immutable.unwrap_or(false),
        digest: envelope.map(|envelope| digest(&envelope.0)),
        exported: Exported::read(secret.annotations()),
        dressed: owned && labelled,
    }
}

fn digest(envelope: &[u8]) -> String {
    Hex(&Sha256::digest(envelope)).to_string()
}

/// Decides about the export of the version that `manifest` says is current, and has it remember what is sealed. `stood`: everything was
/// as it should be, and nothing was asked since.
///
/// # Errors
/// The manifest or the randomness fails; everything else is said by [`ready`].
pub(crate) fn plan(
    seen: &Observed,
    current: &SecretValue,
    manifest: &mut Manifest,
    stood: bool,
    random: &mut dyn Random,
) -> Result<Exporting, Refusal> {
    if wanted(&seen.secret).is_empty() {
        return remove(seen, manifest);
    }
    let (recipients, found) = match recipients(&seen.secret).and_then(|r| Ok((r, place(seen)?))) {
        Ok(ready) => ready,
        Err(problem) => {
            return Ok(Exporting {
                problem: Some(problem),
                ..Exporting::default()
            });
        }
    };
    let record = manifest.export();
    let record = record.filter(|record| is_of(record, manifest, &recipients));
    let again = match (record, found) {
        (Some(record), Some(found)) if found.is(record, seen) => return Ok(Exporting::default()),
        (record, _) => record.is_some(),
    };
    let write = seal(seen, current, manifest, &recipients, random)?;
    let record = ExportRecord {
        version: write.exported.version.clone(),
        sequence: write.exported.sequence,
        recipients: named(&recipients),
        digest: digest(&write.envelope),
    };
    manifest
        .record_export(Some(record))
        .map_err(|error| internal(&error))?;
    let state = found.map(|found| found.state.clone());
    // Data that cannot be changed is thrown away; nothing in it is anybody else's.
    let (gone, over) = match state {
        Some(state) if found.is_some_and(|found| found.immutable) => (Some(state), None),
        state => (None, state),
    };
    let write = Step::ApplyExport(Box::new(ExportWrite {
        over,
        repair: again && stood,
        ..write
    }));
    Ok(Exporting {
        steps: gone
            .map(Step::DeleteTarget)
            .into_iter()
            .chain([write])
            .collect(),
        again,
        ..Exporting::default()
    })
}

/// Whom it is sealed for, by name.
type Recipients<'a> = Vec<(&'a str, SealingPublicKey)>;

fn recipients(secret: &ManagedSecret) -> Result<Recipients<'_>, String> {
    let read = |cluster: &'_ RecipientCluster| {
        let key = cluster.sealing_key.parse();
        key.map_err(|error: SealingKeyError| {
            format!(
                "spec.shareWith.clusters: the sealingKey of {} cannot be used: {error}; copy what kubectl keystead seal fetch-key \
                 prints there",
                cluster.name
            )
        })
    };
    let clusters = wanted(secret).iter();
    clusters
        .map(|cluster| Ok((cluster.name.as_str(), read(cluster)?)))
        .collect()
}

fn named(recipients: &Recipients<'_>) -> BTreeMap<String, String> {
    let recipients = recipients.iter();
    recipients
        .map(|(name, key)| ((*name).to_owned(), key.recipient().to_string()))
        .collect()
}

/// The Secret that may be written over; `None` if there is none of that name.
///
/// # Errors
/// Its place is taken.
fn place(seen: &Observed) -> Result<Option<&ExportSeen>, String> {
    let name = name_of(&seen.secret.name_any());
    if name.len() > MAX_NAME {
        let most = MAX_NAME - REPLICA_SUFFIX.len();
        return Err(format!(
            "spec.shareWith.clusters: the name of this resource has more than {most} characters, which leaves no room for \
             {REPLICA_SUFFIX}; use a shorter name"
        ));
    }
    if target_name(&seen.secret).as_ref() == Some(&name) {
        return Err(format!(
            "spec.shareWith.clusters: Secret {name} is the target too; name another target"
        ));
    }
    let Some(found) = &seen.export else {
        return Ok(None);
    };
    let taken = match &found.owner {
        Owner::Us if found.type_ == SECRET_TYPE_REPLICA => return Ok(Some(found)),
        Owner::Us => "was a target of this resource; delete it".to_owned(),
        Owner::Other(owner) => {
            format!("is the target of ManagedSecret {owner}; rename one of them")
        }
        Owner::Controller(owner) => format!("is controlled by {owner}; rename this resource"),
        Owner::Nobody => "exists and is not ours; delete it, or rename this resource".to_owned(),
    };
    Err(format!("spec.shareWith.clusters: Secret {name} {taken}"))
}

/// Whether it is recorded that exactly this is sealed for exactly these.
fn is_of(record: &ExportRecord, manifest: &Manifest, recipients: &Recipients<'_>) -> bool {
    let current = manifest.current().map(|current| &current.id);
    current == Some(&record.version) && record.recipients == named(recipients)
}

impl ExportSeen {
    /// Whether it is what the record says, untouched.
    fn is(&self, record: &ExportRecord, seen: &Observed) -> bool {
        let recorded = Exported {
            uid: seen.secret.uid().unwrap_or_default(),
            version: record.version.clone(),
            sequence: record.sequence,
        };
        self.dressed
            && self.digest.as_ref() == Some(&record.digest)
            && self.exported.as_ref() == Some(&recorded)
    }
}

fn seal(
    seen: &Observed,
    current: &SecretValue,
    manifest: &Manifest,
    recipients: &Recipients<'_>,
    random: &mut dyn Random,
) -> Result<ExportWrite, Refusal> {
    let (namespace, name) = (
        seen.secret.namespace().unwrap_or_default(),
        seen.secret.name_any(),
    );
    let version = manifest.current().map(|current| current.id.clone());
    let exported = Exported {
        uid: seen.secret.uid().unwrap_or_default(),
        version: version.ok_or_else(|| internal(&"no version is current"))?,
        sequence: manifest.sequence(),
    };
    let context = exported.context(&namespace, &name);
    let context = context.map_err(|error| internal(&error))?;
    let keys: Vec<_> = recipients.iter().map(|(_, key)| key.clone()).collect();
    // Without the text that the keys were read from: the other cluster may be of an earlier release.
    let envelope = seal_to(current.encode_keys().expose(), &context, &keys, random);
    Ok(ExportWrite {
        name: name_of(&name),
        exported,
        envelope: envelope.map_err(|error| internal(&error))?,
        clusters: recipients
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        over: None,
        repair: false,
    })
}

/// Nobody is listed any more: the Secret goes, and then what is remembered of it.
fn remove(seen: &Observed, manifest: &mut Manifest) -> Result<Exporting, Refusal> {
    let ours = |found: &&ExportSeen| found.owner == Owner::Us && found.type_ == SECRET_TYPE_REPLICA;
    match seen.export.as_ref().filter(ours) {
        Some(found) if manifest.export().is_some() => Ok(Exporting {
            steps: vec![Step::DeleteTarget(found.state.clone())],
            goes: true,
            ..Exporting::default()
        }),
        _ => {
            manifest
                .record_export(None)
                .map_err(|error| internal(&error))?;
            Ok(Exporting::default())
        }
    }
}

/// What is said when everything else is as it should be.
pub(crate) fn ready(exporting: &Exporting, ready: NewCondition) -> NewCondition {
    match &exporting.problem {
        Some(problem) if ready.status => {
            NewCondition::not_ready(Reason::SharingFailed, problem.clone())
        }
        _ => ready,
    }
}

/// The Secret, as it is applied.
pub(crate) fn body(write: &ExportWrite, managed: &ManagedSecret) -> Value {
    let mut annotations = write.exported.annotations();
    annotations.insert(ANNOTATION_MANAGED_BY.to_owned(), place_of(managed));
    annotations.insert(ANNOTATION_TARGET.to_owned(), write.name.clone());
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": write.name,
            "namespace": managed.namespace(),
            "labels": { LABEL_MANAGED_BY: MANAGED_BY },
            "annotations": annotations,
            "ownerReferences": owned_by(managed).into_iter().collect::<Vec<_>>(),
        },
        "type": SECRET_TYPE_REPLICA,
        "data": { ENTRY: BASE64.encode(&write.envelope) },
    })
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
