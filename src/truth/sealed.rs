//! The store of sealed secrets: one Secret per `ManagedSecret`, holding the manifest and one envelope
//! per kept version. This module moves ciphertext and the plain facts in annotations; it opens nothing.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use sha2::{Digest, Sha256};

use super::needs::{KeyInUse, Materials, Needs, all_needs, entry_needs, written_entry_needs};
use super::recovery::Recovery;
use crate::api::ManagedSecret;
use crate::api::names::{
    ANNOTATION_APPROVE_ADOPTION, ANNOTATION_ENTRY_MATERIALS, ANNOTATION_KIND, ANNOTATION_MATERIALS,
    ANNOTATION_NAME, ANNOTATION_NAMESPACE, ANNOTATION_NAMESPACE_UID, ANNOTATION_OBJECT_UID,
    ANNOTATION_PARKED_SINCE, FIELD_MANAGER, LABEL_KEY_ID, LABEL_MANAGED_BY, MANAGED_BY,
    SECRET_TYPE_SEALED,
};
use crate::crypto::{KeyId, peek};
use crate::hex::Hex;

const KIND: &str = "ManagedSecret";
const MANIFEST: &str = "manifest";
const VERSION_PREFIX: &str = "version.";

/// The name of the truth about the `ManagedSecret` of that name: `ks-` and the first 20 bytes of SHA-256
/// over kind, namespace and name (none of which can contain the separator), in hexadecimal digits.
pub fn truth_name(namespace: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{KIND}/{namespace}/{name}"));
    format!("ks-{}", Hex(&digest[..20]))
}

/// Who claimed the truth, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// UID of the `ManagedSecret`.
    pub object_uid: String,
    /// UID of its namespace.
    pub namespace_uid: String,
}

/// The truth about one secret, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Namespace of the `ManagedSecret`.
    pub namespace: String,
    /// Name of the `ManagedSecret`.
    pub name: String,
    /// Who claimed it.
    pub claim: Claim,
    /// What becomes of it when the `ManagedSecret` is gone.
    pub recovery: Recovery,
    /// When a leader first saw the `ManagedSecret` missing.
    pub parked_since: Option<Timestamp>,
    /// UID of the namespace that an administrator lets adopt it.
    pub approved: Option<String>,
    /// The envelope of the manifest.
    pub manifest: Vec<u8>,
    /// The envelopes of the versions, by version id.
    pub versions: BTreeMap<String, Vec<u8>>,
    /// The key and the material that the envelopes need, as written beside them for counting; `None` if that was not
    /// written, or not by this release. Not read when this is stored: it is found out anew then.
    pub needs: Option<Needs>,
    /// The material that the entries of `spec.sealed` need which were taken and are under a `ManagedKey`.
    pub entries: Materials,
    /// The state that a replacement must have been made from; `None` for what is not stored yet.
    pub resource_version: Option<String>,
}

/// Whether that entry of the truth is an envelope.
pub(super) fn is_envelope_entry(entry: &str) -> bool {
    entry == MANIFEST || entry.starts_with(VERSION_PREFIX)
}

/// Whether that metadata belongs to the truth about a `ManagedSecret`, and of which.
pub fn owner_of(meta: &ObjectMeta) -> Option<ObjectRef<ManagedSecret>> {
    let annotations = meta.annotations.as_ref()?;
    if annotations.get(ANNOTATION_KIND)? != KIND {
        return None;
    }
    let (namespace, name) = (
        annotations.get(ANNOTATION_NAMESPACE)?,
        annotations.get(ANNOTATION_NAME)?,
    );
    Some(ObjectRef::new(name).within(namespace))
}

/// Whether that metadata is what it says: its name is the hash of the place in its annotations. A copy
/// under another name is nobody's truth.
pub fn is_truth(meta: &ObjectMeta) -> bool {
    owner_of(meta).is_some_and(|owner| {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        meta.name.as_deref() == Some(&truth_name(namespace, &owner.name))
    })
}

/// Which page of a list is next.
enum Page {
    First,
    After(String),
    Last,
}

/// The store of sealed secrets in the operator's namespace.
#[derive(Clone)]
pub struct SealedSecrets {
    api: Api<Secret>,
}

impl SealedSecrets {
    /// The store in that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// The truth about that secret.
    ///
    /// # Errors
    /// Besides those of the API server: `Ok(Some(Err(problem)))` for a Secret of that name which is not
    /// of the form that the operator writes.
    pub async fn get(
        &self,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<Result<Stored, String>>> {
        self.get_named(&truth_name(namespace, name)).await
    }

    /// The truth in the Secret of that name, be it in use or put aside.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_named(&self, truth: &str) -> kube::Result<Option<Result<Stored, String>>> {
        let secret = self.api.get_opt(truth).await?;
        Ok(secret.map(Stored::from_secret))
    }

    /// Deletes the truth in the Secret of that name, in exactly the state of that version.
    pub async fn delete(&self, truth: &str, resource_version: &str) -> kube::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(resource_version.to_owned()),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        match self.api.delete(truth, &params).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Whose truth there is that does not wait to be adopted.
    pub async fn owners_in_use(&self) -> kube::Result<Vec<ObjectRef<ManagedSecret>>> {
        let mut owners = Vec::new();
        let mut page = Page::First;
        while let Some(items) = self.next(&mut page).await? {
            let in_use = items.iter().map(|item| &item.metadata).filter(|meta| {
                let annotations = meta.annotations.as_ref();
                is_truth(meta)
                    && annotations.is_none_or(|a| !a.contains_key(ANNOTATION_PARKED_SINCE))
            });
            owners.extend(in_use.filter_map(owner_of));
        }
        Ok(owners)
    }

    /// What stored secrets need of each key, among them those that wait to be adopted. Reads what is written beside the
    /// envelopes; only where nothing is, the envelopes' headers.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn keys_in_use(&self) -> kube::Result<HashMap<KeyId, KeyInUse>> {
        let mut counted: HashMap<_, KeyInUse> = HashMap::new();
        let mut page = Page::First;
        while let Some(items) = self.next(&mut page).await? {
            for truth in items {
                let needed = match all_needs(&truth.metadata) {
                    Some(needed) => needed,
                    None => self.needed_by(&truth).await?,
                };
                for (key, materials) in needed {
                    counted.entry(key).or_default().add(&materials);
                }
            }
        }
        Ok(counted)
    }

    /// What the envelopes in a Secret name, and the entries that were taken.
    async fn needed_by(&self, truth: &PartialObjectMeta<Secret>) -> kube::Result<Materials> {
        let name = truth.metadata.name.as_deref().unwrap_or_default();
        let found = self.api.get_opt(name).await?;
        let data = found.and_then(|secret| secret.data).unwrap_or_default();
        let mut needed = entry_needs(&truth.metadata);
        for info in data.values().filter_map(|bytes| peek(&bytes.0).ok()) {
            needed.entry(info.key).or_default().insert(info.material);
        }
        Ok(needed)
    }

    /// The metadata of the next truth; `None` if that was all. Whoever asks keeps of it what he needs: all metadata at once is
    /// many times as large.
    async fn next(&self, page: &mut Page) -> kube::Result<Option<Vec<PartialObjectMeta<Secret>>>> {
        let selector = format!("type={SECRET_TYPE_SEALED}");
        let params = ListParams::default().fields(&selector).limit(500);
        let params = match std::mem::replace(page, Page::Last) {
            Page::First => params,
            Page::After(token) => params.continue_token(&token),
            Page::Last => return Ok(None),
        };
        let found = self.api.list_metadata(&params).await?;
        if let Some(token) = found.metadata.continue_.filter(|token| !token.is_empty()) {
            *page = Page::After(token);
        }
        Ok(Some(found.items))
    }

    /// Whether there is any truth at all.
    pub async fn any(&self) -> kube::Result<bool> {
        let selector = format!("type={SECRET_TYPE_SEALED}");
        let params = ListParams::default().fields(&selector).limit(1);
        Ok(!self.api.list_metadata(&params).await?.items.is_empty())
    }

    /// Writes new truth, or over exactly the state that it was read in; returns the new state's version.
    pub async fn write(&self, stored: &Stored) -> kube::Result<String> {
        let secret = stored.to_secret();
        let written = if stored.resource_version.is_none() {
            self.api.create(&params(), &secret).await?
        } else {
            let name = truth_name(&stored.namespace, &stored.name);
            self.api.replace(&name, &params(), &secret).await?
        };
        Ok(written.metadata.resource_version.unwrap_or_default())
    }

    /// Keeps waiting truth under another name, before somebody starts afresh in its place. `now`: when its window begins, if
    /// it has not begun yet.
    pub async fn archive(&self, stored: &Stored, now: Timestamp) -> kube::Result<()> {
        let mut stored = stored.clone();
        stored.parked_since.get_or_insert(now);
        let mut secret = stored.to_secret();
        secret.metadata.resource_version = None;
        secret.metadata.name = Some(format!(
            "{}-{}",
            truth_name(&stored.namespace, &stored.name),
            stored.claim.object_uid
        ));
        match self.api.create(&params(), &secret).await {
            // A crash came between this and the next step; it is kept already.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

impl Stored {
    /// When it comes to its end, at the earliest; `None` if it does not wait, or never comes to it.
    pub fn end(&self) -> Option<Timestamp> {
        let window = self.recovery.window_for(&self.claim.object_uid);
        self.parked_since?.checked_add(window).ok()
    }

    /// The key and the material that the envelopes need, by their own headers.
    pub fn needed(&self) -> Needs {
        let key = peek(&self.manifest).ok().map(|info| info.key);
        let envelopes = self.versions.values().chain([&self.manifest]);
        let materials = envelopes.filter_map(|envelope| Some(peek(envelope).ok()?.material));
        Needs {
            key,
            materials: materials.collect(),
        }
    }

    fn from_secret(secret: Secret) -> Result<Self, String> {
        let needs = Needs::read(&secret.metadata);
        let entries = entry_needs(&secret.metadata);
        let annotations = secret.metadata.annotations.unwrap_or_default();
        let annotation = |name: &str| {
            annotations
                .get(name)
                .cloned()
                .ok_or_else(|| format!("annotation {name} is missing"))
        };
        let parked_since = annotations
            .get(ANNOTATION_PARKED_SINCE)
            .map(|text| {
                text.parse()
                    .map_err(|_| format!("{ANNOTATION_PARKED_SINCE} is no time"))
            })
            .transpose()?;
        let mut data = secret.data.unwrap_or_default();
        let manifest = data.remove(MANIFEST).ok_or("entry manifest is missing")?.0;
        let versions = data
            .into_iter()
            .filter_map(|(key, bytes)| {
                Some((key.strip_prefix(VERSION_PREFIX)?.to_owned(), bytes.0))
            })
            .collect();
        Ok(Self {
            namespace: annotation(ANNOTATION_NAMESPACE)?,
            name: annotation(ANNOTATION_NAME)?,
            claim: Claim {
                object_uid: annotation(ANNOTATION_OBJECT_UID)?,
                namespace_uid: annotation(ANNOTATION_NAMESPACE_UID)?,
            },
            recovery: Recovery::read(&annotations),
            parked_since,
            approved: annotations.get(ANNOTATION_APPROVE_ADOPTION).cloned(),
            manifest,
            versions,
            needs,
            entries,
            resource_version: secret.metadata.resource_version,
        })
    }

    fn to_secret(&self) -> Secret {
        let mut annotations = BTreeMap::from([
            (ANNOTATION_KIND.to_owned(), KIND.to_owned()),
            (ANNOTATION_NAMESPACE.to_owned(), self.namespace.clone()),
            (ANNOTATION_NAME.to_owned(), self.name.clone()),
            (
                ANNOTATION_OBJECT_UID.to_owned(),
                self.claim.object_uid.clone(),
            ),
            (
                ANNOTATION_NAMESPACE_UID.to_owned(),
                self.claim.namespace_uid.clone(),
            ),
        ]);
        annotations.extend(self.recovery.annotations());
        annotations.extend(
            self.parked_since
                .map(|at| (ANNOTATION_PARKED_SINCE.to_owned(), at.to_string())),
        );
        annotations.extend(
            self.approved
                .clone()
                .map(|uid| (ANNOTATION_APPROVE_ADOPTION.to_owned(), uid)),
        );
        let needs = self.needed();
        annotations.insert(ANNOTATION_MATERIALS.to_owned(), needs.written());
        annotations.extend(
            written_entry_needs(&self.entries)
                .map(|needs| (ANNOTATION_ENTRY_MATERIALS.to_owned(), needs)),
        );
        let mut labels = BTreeMap::from([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())]);
        labels.extend(
            needs
                .key
                .map(|key| (LABEL_KEY_ID.to_owned(), key.to_string())),
        );
        let versions = self
            .versions
            .iter()
            .map(|(id, bytes)| (format!("{VERSION_PREFIX}{id}"), ByteString(bytes.clone())));
        let mut data: BTreeMap<_, _> = versions.collect();
        data.insert(MANIFEST.to_owned(), ByteString(self.manifest.clone()));
        Secret {
            metadata: ObjectMeta {
                name: Some(truth_name(&self.namespace, &self.name)),
                labels: Some(labels),
                annotations: Some(annotations),
                resource_version: self.resource_version.clone(),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE_SEALED.to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::MaterialId;
    use crate::truth::end_of;

    fn stored() -> Stored {
        Stored {
            namespace: "shop".into(),
            name: "orders-db".into(),
            claim: Claim {
                object_uid: "u1".into(),
                namespace_uid: "n1".into(),
            },
            recovery: Recovery {
                window_days: Some(7),
                forced: None,
            },
            parked_since: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            approved: None,
            manifest: vec![1, 2],
            versions: BTreeMap::from([("v1".to_owned(), vec![3, 4])]),
            needs: None,
            entries: Materials::from([(
                "11111111-1111-4111-8111-111111111111".parse().unwrap(),
                [[7; 16], [8; 16]].map(MaterialId::from_bytes).into(),
            )]),
            resource_version: Some("17".into()),
        }
    }

    #[test]
    fn truth_survives_its_form_as_a_secret() {
        assert_eq!(Stored::from_secret(stored().to_secret()), Ok(stored()));
    }

    #[test]
    fn truth_that_waits_ends_after_its_window_or_at_once_if_that_was_asked_of_this_very_resource() {
        let end = |change: &dyn Fn(&mut Stored)| {
            let mut stored = stored();
            change(&mut stored);
            end_of(&stored.to_secret().metadata).map(|end| end.to_string())
        };
        let forced = |uid: &'static str| {
            move |stored: &mut Stored| stored.recovery.forced = Some(uid.to_owned())
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(end(&|_| {}), said("2026-01-09T03:04:05Z"));
        assert_eq!(
            end(&|stored| stored.recovery = Recovery::default()),
            said("2026-02-01T03:04:05Z")
        );
        assert_eq!(end(&forced("u1")), said("2026-01-02T03:04:05Z"));
        assert_eq!(end(&forced("u2")), said("2026-01-09T03:04:05Z"));
        assert_eq!(end(&|stored| stored.parked_since = None), None);
    }

    #[test]
    fn names_of_any_length_give_short_distinct_names() {
        let long = "a".repeat(253);
        let longer = format!("{}b", "a".repeat(252));
        assert_eq!(truth_name("ns", &long).len(), 43);
        assert_ne!(truth_name("ns", &long), truth_name("ns", &longer));
        assert_ne!(truth_name("a", "b.c"), truth_name("a.b", "c"));
    }

    #[test]
    fn a_copy_under_another_name_is_no_truth() {
        let mut meta = stored().to_secret().metadata;
        assert!(is_truth(&meta));
        meta.name = Some("copy".into());
        assert!(!is_truth(&meta));
    }

    #[test]
    fn what_the_operator_did_not_write_is_refused_with_a_reason() {
        let mut secret = stored().to_secret();
        secret.data = None;
        assert_eq!(
            Stored::from_secret(secret),
            Err("entry manifest is missing".to_owned())
        );
    }
}
