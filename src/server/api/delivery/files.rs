//! `GetSecretFiles`: what a native Secret of form `Plain` would hold, for whoever may read the secret; for a pod of its rotation the keys
//! themselves.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::secrets::{SecretValue, delivered};
use crate::server::api::Caller;
use crate::server::api::error::ApiError;
use crate::server::api::secrets::{Secrets, Selector};
use crate::server::api::wire::{Answer, answer, parameters};
use crate::server::catalogue::{Catalogue, Revision};
use crate::server::kubelets::Kubelets;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretFiles {
    secret_id: String,
    version_stage: Option<String>,
    /// Whether kubelet will take variables from what is made of them.
    #[serde(default)]
    for_variables: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SecretFiles<'a> {
    version_id: &'a str,
    revision: String,
    data: Data<'a>,
}

/// In base64. What it borrows from is zeroized by its owner, what it is written into by the allocator.
struct Data<'a>(&'a SecretValue);

/// It is read as any other reader reads it: the same decisions, and the same line of the audit trail.
pub(super) async fn files(
    (catalogue, kubelets): (&Catalogue, &Kubelets),
    secrets: &Secrets,
    caller: Caller<'_>,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let asked: GetSecretFiles = parameters(body)?;
    if asked.for_variables {
        taken(kubelets, caller)?;
    }
    let selector = Selector::of(None, asked.version_stage.as_deref())?;
    known(catalogue)?;
    let opened = secrets.value(caller, &asked.secret_id, &selector).await?;
    let (namespace, name) = (&opened.stored.namespace, &opened.stored.name);
    // Its truth may be there before this replica has heard of it, or a moment after it was deleted.
    let entry = catalogue.get(namespace, name);
    let entry = entry.ok_or_else(|| ApiError::not_found("there is no such ManagedSecret here"))?;
    let rendered;
    let content = if opened.rotates {
        // Whoever makes the new value has to know its parts, and not what is made of them.
        &opened.value
    } else {
        let made = delivered(&entry.template, &opened.value);
        rendered = made.map_err(|error| ApiError::invalid_request(error.to_string()))?;
        &rendered
    };
    answer(&SecretFiles {
        version_id: opened.version.id.as_str(),
        revision: revision(opened.current.as_str(), &entry.template),
        data: Data(content),
    })
}

/// A pod that was made while all kubelets could may have come to one that cannot: a node that joined later, or that was put back.
fn taken(kubelets: &Kubelets, caller: Caller<'_>) -> Result<(), ApiError> {
    let node = caller.who.pod.as_ref().and_then(|pod| pod.node.as_deref());
    let why = match node {
        Some(node) => kubelets.refuse_files_on(node),
        None => kubelets.refuse_files(),
    };
    why.map_or(Ok(()), |why| Err(ApiError::invalid_request(why)))
}

/// Without its template nothing can be delivered of a secret.
pub(super) fn known(catalogue: &Catalogue) -> Result<(), ApiError> {
    if catalogue.is_ready() {
        return Ok(());
    }
    let message = "this replica does not know all secrets yet; try again";
    Err(ApiError::unavailable(message))
}

/// Of the secret, and not of the version that was asked for: an earlier version is another one when the current one is.
fn revision(current: &str, template: &BTreeMap<String, String>) -> String {
    Revision::of(current, template).to_string()
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, bytes) in self.0.iter() {
            map.serialize_entry(key, &STANDARD.encode(bytes))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crypto::SecretBytes;

    #[test]
    fn every_key_is_in_base64_whatever_its_bytes_are() {
        let entries = [("a.pem", &b"text\n"[..]), ("b", &[0xff, 0]), ("c", b"")];
        let entries = entries.map(|(key, bytes)| (key.to_owned(), SecretBytes::copy_of(bytes)));
        let value = SecretValue::from_entries(entries).unwrap();
        let files = SecretFiles {
            version_id: "v1",
            revision: "r".to_owned(),
            data: Data(&value),
        };
        let data = json!({"a.pem": "dGV4dAo=", "b": "/wA=", "c": ""});
        assert_eq!(
            serde_json::to_value(files).unwrap(),
            json!({"VersionId": "v1", "Revision": "r", "Data": data})
        );
    }

    #[test]
    fn while_not_all_secrets_are_known_none_is_delivered() {
        let refused = known(&Catalogue::default()).unwrap_err();
        assert_eq!(refused.code, "ServiceUnavailableException");
    }
}
