//! What the operator takes for granted of the API server.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::shared_control_plane;

/// An apply that names the UID of what it changes must not make a new object in the place of one that is gone: taking
/// our keys out of a Secret would leave an empty one.
#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_names_a_uid_makes_nothing_new() {
    let control_plane = shared_control_plane().await;
    let secrets: Api<Secret> = Api::namespaced(control_plane.client().unwrap(), "default");
    let params = PatchParams::apply("keystead").force();
    let body = |uid: Option<&str>| {
        let metadata = json!({ "name": "gone", "namespace": "default", "uid": uid });
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata })
    };
    let of_another = body(Some("11111111-2222-3333-4444-555555555555"));
    let refused = secrets
        .patch("gone", &params, &Patch::Apply(&of_another))
        .await;
    assert!(
        matches!(&refused, Err(kube::Error::Api(status)) if status.is_conflict()),
        "{refused:?}"
    );
    assert!(secrets.get_opt("gone").await.unwrap().is_none());
    // Without a UID it would.
    let made = secrets
        .patch("gone", &params, &Patch::Apply(&body(None)))
        .await;
    made.unwrap();
    secrets
        .delete("gone", &kube::api::DeleteParams::default())
        .await
        .unwrap();
}
