//! Keeps the definitions of the resource types up to date. They have no Helm owner, so that an uninstallation leaves
//! them, and everything under them, alone.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use tracing::{info, warn};

use super::error::{Error, call};
use crate::api;
use crate::api::names::{ANNOTATION_SCHEMA_HASH, FIELD_MANAGER, LABEL_GUARD};

/// Applies every definition that differs from ours. What may not be done is said and left: somebody else keeps the
/// definitions then.
pub async fn apply(client: Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for crd in api::crds::crds() {
        match apply_one(&api, &crd).await {
            Ok(false) => {}
            Ok(true) => info!(
                crd = crd.name_any(),
                "the definition was brought up to date"
            ),
            Err(error) => {
                warn!(crd = crd.name_any(), %error, "the definition could not be brought up to date");
            }
        }
    }
}

async fn apply_one(
    api: &Api<CustomResourceDefinition>,
    crd: &CustomResourceDefinition,
) -> Result<bool, Error> {
    let name = crd.name_any();
    let found = call(
        "get",
        format!("CustomResourceDefinition {name}"),
        api.get_opt(&name),
    )
    .await?;
    let hash =
        |crd: &CustomResourceDefinition| crd.annotations().get(ANNOTATION_SCHEMA_HASH).cloned();
    if found.as_ref().is_some_and(|found| hash(found) == hash(crd)) {
        return Ok(false);
    }
    let mut wanted = crd.clone();
    if found.is_some() {
        // An administrator who took the guard's label off stays obeyed.
        wanted.labels_mut().remove(LABEL_GUARD);
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let object = format!("CustomResourceDefinition {name}");
    call(
        "apply",
        object,
        api.patch(&name, &params, &Patch::Apply(&wanted)),
    )
    .await
    .map(|_| true)
}
