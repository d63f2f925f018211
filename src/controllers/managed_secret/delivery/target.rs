//! The native Secret that a secret is delivered in, as it was found.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::super::key::KeySeen;
use super::super::observe::Observed;
use super::super::sources::native::plain;
use super::super::spec::{form, user_context};
use crate::api::ManagedSecret;
use crate::api::managed_secret::{DeletionPolicy, Existing, Form, TemplateMetadata};
use crate::api::names::{
    ANNOTATION_DELETION_POLICY, ANNOTATION_EXISTING, ANNOTATION_MANAGED_BY, ANNOTATION_TARGET,
    FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY, SEALED_SUFFIX, SECRET_TYPE_SEALED,
};
use crate::controllers::context::Context;
use crate::crypto::{self, EncryptionContext, MaterialId, Purpose, SecretBytes};

/// A Secret of the target's name.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// Its UID.
    pub(crate) uid: String,
    /// The state that was read.
    pub(crate) resource_version: String,
    /// Its type.
    pub(crate) type_: String,
    /// Whether the API server refuses changes of its data.
    pub(crate) immutable: bool,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// How it came to us, as written on it.
    pub(crate) existing: Existing,
    /// The keys that we own.
    pub(crate) owned: BTreeSet<String>,
    /// The value that a consumer gets from it, by key and without the suffix of sealed entries. Of a sealed one
    /// only what opens in its place and under the right key.
    pub(crate) delivered: BTreeMap<String, SecretBytes>,
    /// The generations of key material that its sealed entries need.
    pub(crate) materials: BTreeSet<MaterialId>,
    /// All its keys.
    pub(crate) keys: BTreeSet<String>,
    /// Whether labels, annotations and owner are as they should be.
    pub(crate) dressed: bool,
    /// When it was made.
    pub(crate) created: Option<Timestamp>,
    /// When we last applied it, by the API server's clock.
    pub(crate) applied: Option<Timestamp>,
}

/// Whose a Secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This secret's.
    Us,
    /// Another `ManagedSecret`'s.
    Other(String),
    /// Another controller's.
    Controller(String),
    /// Nobody's that we know of.
    Nobody,
}

impl Target {
    /// Whether it belongs to this secret.
    pub(crate) fn is_ours(&self) -> bool {
        self.owner == Owner::Us
    }

    /// Whether nothing in it is anybody else's, so that it can be deleted and made anew.
    pub(crate) fn is_only_ours(&self) -> bool {
        self.is_ours() && self.existing == Existing::Fail && self.keys == self.owned
    }
}

/// Reads what matters of a Secret.
pub(crate) fn read(secret: Secret, seen: &Observed, ctx: &Context) -> Target {
    let managed = &*seen.secret;
    let owner = owner_of(&secret, managed);
    let existing = match secret
        .annotations()
        .get(ANNOTATION_EXISTING)
        .map(String::as_str)
    {
        Some("Adopt") => Existing::Adopt,
        Some("Merge") => Existing::Merge,
        _ => Existing::Fail,
    };
    let keys: BTreeSet<_> = secret
        .data
        .iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect();
    let fields = secret.metadata.managed_fields.as_deref();
    let fields = fields.unwrap_or_default();
    Target {
        name: secret.name_any(),
        created: secret.creation_timestamp().map(|time| time.0),
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
        type_: secret.type_.clone().unwrap_or_else(|| "Opaque".to_owned()),
        immutable: secret.immutable.unwrap_or(false),
        existing,
        owned: owned(fields, &["f:data"]),
        applied: ours(fields)
            .filter_map(|entry| Some(entry.time.as_ref()?.0))
            .max(),
        dressed: owner == Owner::Us && is_dressed(&secret, fields, managed, existing),
        owner,
        materials: materials(&secret),
        delivered: delivered(secret, seen, ctx),
        keys,
    }
}

/// Whose a Secret is.
pub(crate) fn owner_of(secret: &Secret, managed: &ManagedSecret) -> Owner {
    let place = place_of(managed);
    match secret.annotations().get(ANNOTATION_MANAGED_BY) {
        Some(owner) if *owner == place && names_itself(secret) => return Owner::Us,
        // A copy made by hand carries the name of the original's owner, but is nobody's.
        Some(owner)
            if *owner != place
                && names_itself(secret)
                && owner.split_once('/').map(|(ns, _)| ns) == managed.namespace().as_deref() =>
        {
            return Owner::Other(owner.clone());
        }
        _ => {}
    }
    let controller = secret
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    controller.map_or(Owner::Nobody, |owner| {
        Owner::Controller(format!("{} {}", owner.kind, owner.name))
    })
}

/// Whether a Secret is the one that its annotations were written on, and no copy of it.
fn names_itself(secret: &Secret) -> bool {
    secret.annotations().get(ANNOTATION_TARGET) == secret.metadata.name.as_ref()
}

/// What is written on a target to say whose it is.
pub(crate) fn place_of(managed: &ManagedSecret) -> String {
    format!(
        "{}/{}",
        managed.namespace().unwrap_or_default(),
        managed.name_any()
    )
}

/// The annotations of a target.
pub(crate) fn annotations(
    managed: &ManagedSecret,
    name: &str,
    existing: Existing,
) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([
        (ANNOTATION_MANAGED_BY.to_owned(), place_of(managed)),
        (ANNOTATION_TARGET.to_owned(), name.to_owned()),
        (
            ANNOTATION_DELETION_POLICY.to_owned(),
            deletion_policy(managed).as_str().to_owned(),
        ),
    ]);
    if existing != Existing::Fail {
        annotations.insert(ANNOTATION_EXISTING.to_owned(), existing.as_str().to_owned());
    }
    let asked = metadata(managed).into_iter().flat_map(|m| &m.annotations);
    // Ours cannot be among them: the schema refuses their names.
    for (key, value) in asked {
        annotations
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    annotations
}

/// The labels of a target.
pub(crate) fn labels(managed: &ManagedSecret) -> BTreeMap<String, String> {
    let asked = metadata(managed).into_iter().flat_map(|m| &m.labels);
    let mut labels: BTreeMap<_, _> = asked.map(|(k, v)| (k.clone(), v.clone())).collect();
    labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
    labels
}

/// The labels and annotations that a spec asks for.
fn metadata(managed: &ManagedSecret) -> Option<&TemplateMetadata> {
    managed.spec.template.as_ref()?.metadata.as_ref()
}

/// The owner reference of a target, unless it must survive its owner.
pub(crate) fn owner_reference(
    managed: &ManagedSecret,
    existing: Existing,
) -> Option<OwnerReference> {
    if deletion_policy(managed) == DeletionPolicy::Retain || existing == Existing::Merge {
        return None;
    }
    owned_by(managed)
}

/// The owner reference of what goes with its secret. It does not block the secret's deletion.
pub(crate) fn owned_by(managed: &ManagedSecret) -> Option<OwnerReference> {
    let owner = managed.controller_owner_ref(&())?;
    Some(OwnerReference {
        controller: None,
        block_owner_deletion: None,
        ..owner
    })
}

/// What happens to the target when its secret goes.
pub(crate) fn deletion_policy(managed: &ManagedSecret) -> DeletionPolicy {
    managed
        .spec
        .target
        .as_ref()
        .and_then(|target| target.deletion_policy)
        .unwrap_or_default()
}

fn is_dressed(
    secret: &Secret,
    fields: &[ManagedFieldsEntry],
    managed: &ManagedSecret,
    existing: Existing,
) -> bool {
    let owner = owner_reference(managed, existing);
    let uid = managed.uid().unwrap_or_default();
    let has_owner = secret
        .owner_references()
        .iter()
        .any(|reference| reference.uid == uid);
    // What is ours and is not wanted any more has to go, too.
    let wears = |part, wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>| {
        wanted
            .iter()
            .all(|(key, value)| found.get(key) == Some(value))
            && owned(fields, &["f:metadata", part])
                .iter()
                .all(|key| wanted.contains_key(key))
    };
    let wanted = annotations(managed, &secret.name_any(), existing);
    wears("f:annotations", &wanted, secret.annotations())
        && wears("f:labels", &labels(managed), secret.labels())
        && has_owner == owner.is_some()
}

/// The keys of a map in an object that we applied.
fn owned(fields: &[ManagedFieldsEntry], path: &[&str]) -> BTreeSet<String> {
    let map = |entry: &ManagedFieldsEntry| {
        let fields = &entry.fields_v1.as_ref()?.0;
        let map = path
            .iter()
            .try_fold(fields, |fields, part| fields.get(part));
        Some(map?.as_object()?.keys().cloned().collect::<Vec<_>>())
    };
    ours(fields)
        .filter_map(map)
        .flatten()
        .filter_map(|key| key.strip_prefix("f:").map(str::to_owned))
        .collect()
}

/// What we applied.
fn ours(fields: &[ManagedFieldsEntry]) -> impl Iterator<Item = &ManagedFieldsEntry> {
    fields.iter().filter(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    })
}

/// The generations that sealed entries need, by the entries' own headers.
fn materials(secret: &Secret) -> BTreeSet<MaterialId> {
    let sealed = secret.data.iter().flatten();
    let sealed = sealed.filter(|(entry, _)| entry.ends_with(SEALED_SUFFIX));
    sealed
        .filter_map(|(_, envelope)| Some(crypto::peek(&envelope.0).ok()?.material))
        .collect()
}

/// What a consumer gets.
fn delivered(secret: Secret, seen: &Observed, ctx: &Context) -> BTreeMap<String, SecretBytes> {
    let managed = &*seen.secret;
    let is_sealed = secret.type_.as_deref() == Some(SECRET_TYPE_SEALED);
    let data = plain(secret);
    // Plaintext that is to become sealed is delivered as long as it is used.
    let is_sealed = is_sealed || data.keys().any(|entry| entry.ends_with(SEALED_SUFFIX));
    if form(managed) != Form::Sealed || !is_sealed {
        return data;
    }
    let (KeySeen::Usable { id: key, .. }, Ok(user)) = (&seen.key, user_context(managed)) else {
        return BTreeMap::new();
    };
    let access = seen.key_access(ctx);
    // What was made for another place or under another key is none that a consumer could read.
    let open = |(entry, envelope): (String, SecretBytes)| {
        let name = entry.strip_suffix(SEALED_SUFFIX)?.to_owned();
        if crypto::peek(envelope.expose()).ok()?.key != *key {
            return None;
        }
        let context = sealed_context(managed, &name, &user).ok()?;
        let opened = access.open(envelope.expose(), &context);
        Some((name, opened.ok()?))
    };
    data.into_iter().filter_map(open).collect()
}

/// The context of one sealed entry.
pub(crate) fn sealed_context(
    managed: &ManagedSecret,
    key: &str,
    user: &EncryptionContext,
) -> Result<EncryptionContext, crypto::ContextError> {
    let (namespace, secret) = (managed.namespace().unwrap_or_default(), managed.name_any());
    Purpose::Sealed {
        namespace: &namespace,
        secret: &secret,
        key,
    }
    .context(user)
}
