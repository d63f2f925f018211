//! Which key material stored and delivered envelopes need, read from their own headers. Before material is removed for good,
//! what is written beside envelopes for counting is not relied on.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};

use super::needs::entry_needs;
use super::sealed::is_envelope_entry;
use crate::api::names::{SEALED_SUFFIX, SECRET_TYPE_SEALED};
use crate::crypto::{KeyId, MaterialId, peek};

/// Secrets in one page: each may have a megabyte.
const BODIES: u32 = 50;
/// Metadata in one page.
const METADATA: u32 = 500;

/// What envelopes need.
#[derive(Debug, Default)]
pub struct Needed {
    materials: HashSet<(KeyId, MaterialId)>,
    /// Secrets with an entry that should be an envelope and is none: what they need is not known.
    pub unreadable: Vec<String>,
}

impl Needed {
    /// Whether some envelope needs that generation of that key.
    pub fn contains(&self, key: KeyId, material: MaterialId) -> bool {
        self.materials.contains(&(key, material))
    }

    fn add(&mut self, secret: Secret, is_envelope: impl Fn(&str) -> bool) {
        let name = secret.name_any();
        for (key, materials) in entry_needs(&secret.metadata) {
            let each = materials.into_iter().map(|material| (key, material));
            self.materials.extend(each);
        }
        for (entry, bytes) in secret.data.unwrap_or_default() {
            if !is_envelope(&entry) {
                continue;
            }
            match peek(&bytes.0) {
                Ok(info) => {
                    self.materials.insert((info.key, info.material));
                }
                Err(_) => self.unreadable.push(name.clone()),
            }
        }
    }
}

/// What the truth about secrets needs, with what is put aside or waits to be adopted.
///
/// # Errors
/// Those of the API server.
pub async fn needed_by_truth(client: Client, namespace: &str) -> kube::Result<Needed> {
    let mut needed = Needed::default();
    add_sealed(&mut needed, client, namespace, is_envelope_entry).await?;
    Ok(needed)
}

/// What is delivered in a namespace needs, be it ours or a copy that somebody made.
///
/// # Errors
/// Those of the API server.
pub async fn needed_by_targets(client: Client, namespace: &str) -> kube::Result<Needed> {
    let mut needed = Needed::default();
    add_sealed(&mut needed, client.clone(), namespace, is_sealed_entry).await?;
    // Merged targets are Secrets of another type. Their bodies are read only if something is sealed in them.
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let others = format!("type!={SECRET_TYPE_SEALED}");
    let mut params = ListParams::default().fields(&others).limit(METADATA);
    loop {
        let page = api.list_metadata(&params).await?;
        for found in page.items.iter().filter(|found| may_hold_sealed(found)) {
            if let Some(secret) = api.get_opt(&found.name_any()).await? {
                needed.add(secret, is_sealed_entry);
            }
        }
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params.continue_token = Some(token),
            _ => return Ok(needed),
        }
    }
}

async fn add_sealed(
    needed: &mut Needed,
    client: Client,
    namespace: &str,
    is_envelope: impl Fn(&str) -> bool,
) -> kube::Result<()> {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let fields = format!("type={SECRET_TYPE_SEALED}");
    let mut params = ListParams::default().fields(&fields).limit(BODIES);
    loop {
        let page = api.list(&params).await?;
        for secret in page.items {
            needed.add(secret, &is_envelope);
        }
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params.continue_token = Some(token),
            _ => return Ok(()),
        }
    }
}

fn is_sealed_entry(entry: &str) -> bool {
    entry.ends_with(SEALED_SUFFIX)
}

/// Whether some writer says that he wrote a sealed entry; yes if nobody says what he wrote.
fn may_hold_sealed(found: &PartialObjectMeta<Secret>) -> bool {
    let ObjectMeta { managed_fields, .. } = &found.metadata;
    let Some(writers) = managed_fields
        .as_ref()
        .filter(|writers| !writers.is_empty())
    else {
        return true;
    };
    let name = format!("{SEALED_SUFFIX}\"");
    writers.iter().any(|writer| {
        let fields = writer.fields_v1.as_ref();
        fields.is_none_or(|fields| fields.0.to_string().contains(&name))
    })
}
