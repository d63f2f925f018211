//! Reads the Secret that material is imported from, and opens what it holds.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::import::{Found, wanted};
use crate::api::{KeyMaterial, ManagedKey};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::managed_secret::plain;
use crate::keys::{Opening, import_token};

const MATERIAL: &str = "encryptedKeyMaterial";
const TOKEN: &str = "importToken";

/// What is found where the spec says that material is; `None` if nothing is to be looked for.
pub(super) async fn find(
    key: &ManagedKey,
    truth: &KeyMaterial,
    ctx: &Context,
) -> Result<Option<Found>, Error> {
    let Some((import, offer)) = wanted(key, &truth.spec, ctx.now()) else {
        return Ok(None);
    };
    let Ok(id) = truth.name_any().parse() else {
        return Ok(None);
    };
    let (namespace, name) = (key.namespace().unwrap_or_default(), &import.secret_ref.name);
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &namespace);
    let object = format!("Secret {namespace}/{name}");
    let Some(secret) = call("get", &object, secrets.get_opt(name)).await? else {
        return Ok(Some(Found::Missing(format!("{object} does not exist"))));
    };
    let data = plain(secret);
    let (Some(material), Some(token)) = (data.get(MATERIAL), data.get(TOKEN)) else {
        let lacks = format!("{object} lacks an entry: it has {MATERIAL} and {TOKEN}");
        return Ok(Some(Found::Missing(lacks)));
    };
    if token.expose().trim_ascii() != import_token(id, offer).as_bytes() {
        let other = format!(
            "{object}: {TOKEN} is not status.import.importToken, so the material is wrapped for another key or offer"
        );
        return Ok(Some(Found::Refused(other)));
    }
    let opening = Opening {
        installation: ctx.installation.id,
        roots: &ctx.installation.roots,
        key: id,
        spec: &truth.spec,
    };
    let opened = opening.open(offer, import.wrapping_algorithm, material.expose());
    Ok(Some(match opened {
        Ok(imported) => Found::Material(imported),
        Err(refusal) => Found::Refused(format!("{object}: {refusal}")),
    }))
}
