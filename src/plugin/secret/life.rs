//! The end of a secret, its return, and a replica's way to a life of its own.

use std::io::Write;
use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::ManagedSecret;
use crate::api::names::ANNOTATION_FORCE_DELETE;
use crate::calling::answered;
use crate::plugin::connection::Cluster;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::objects::{self, DryRun, Writing, about, api, change, get, tell};

/// How long a forced deletion waits for the operator: 30 looks, one a second.
const LOOKS: u32 = 30;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Arguments of `secret restore`.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// Name of the secret.
    name: String,
    #[command(flatten)]
    writing: Writing,
}

/// Arguments of `secret delete`.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Name of the secret.
    name: String,
    /// Remove its ciphertext without the recovery window. Nothing brings it back.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Arguments of `secret promote`.
#[derive(Debug, clap::Args)]
pub(super) struct Promote {
    /// Name of the replica.
    name: String,
    #[command(flatten)]
    writing: Writing,
}

/// Makes the resource again, with the keys of its stored version and no other source. Who has its manifest applies that instead.
pub(super) async fn restore(
    cluster: &Cluster,
    args: &Restore,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let name = &args.name;
    let api = api::<ManagedSecret>(cluster);
    let found = answered(api.get_opt(name)).await;
    let found = found
        .map_err(|error| Failure::of_call(&about::<ManagedSecret>("get", cluster, name), &error))?;
    if found.is_some() {
        return Err(Failure::new(
            Exit::Conflict,
            format!(
                "ManagedSecret {}/{name} is there: nothing is to be restored",
                cluster.namespace
            ),
        ));
    }
    objects::make::<ManagedSecret>(cluster, &restored(cluster, name), name, args.writing, out).await
}

fn restored(cluster: &Cluster, name: &str) -> Value {
    json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "ManagedSecret",
        "metadata": {"name": name, "namespace": cluster.namespace}, "spec": {"stored": {}},
    })
}

/// Deletes the object that was seen; with force, after it says so itself.
pub(super) async fn delete(
    cluster: &Cluster,
    args: &Delete,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let secret: ManagedSecret = get(cluster, &args.name).await?;
    if !args.force {
        let done = "deleted; its ciphertext waits, see `kubectl keystead secret restore`";
        return objects::delete(cluster, &secret, done, args.writing, out).await;
    }
    // The UID: a copy of the manifest deletes nothing, since its object has another one.
    let asked = json!({ANNOTATION_FORCE_DELETE: secret.uid()});
    let patch = json!({"metadata": {"annotations": asked}});
    let done = "is asked to go without a window";
    change(cluster, &secret, patch, done, args.writing, out).await?;
    match args.writing.dry_run {
        DryRun::None => {
            wait_for_note(cluster, &args.name).await?;
            objects::delete(cluster, &secret, "deleted for good", args.writing, out).await
        }
        DryRun::Client | DryRun::Server => Ok(Exit::Ok),
    }
}

/// Waits until the operator has taken note that the deletion is final: what is deleted before is kept for its window.
async fn wait_for_note(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    for _ in 0..LOOKS {
        let secret: ManagedSecret = get(cluster, name).await?;
        let noted = secret.status.and_then(|status| status.forced_deletion);
        if noted == Some(true) {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(Failure::error(format!(
        "the operator has not taken note of it within {} s, and nothing is deleted; look at it with `kubectl keystead doctor`, and try again",
        BETWEEN_LOOKS.as_secs() * u64::from(LOOKS)
    )))
}

/// Replaces the source of a replica by what it has.
pub(super) async fn promote(
    cluster: &Cluster,
    args: &Promote,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let (secret, is_replica) =
        objects::with_field::<ManagedSecret>(cluster, &args.name, "/spec/replicaOf").await?;
    if !is_replica {
        return tell(&secret, "unchanged: it is no replica", args.writing, out);
    }
    let patch = json!({"spec": {"replicaOf": null, "stored": {}}});
    change(
        cluster,
        &secret,
        patch,
        "is no replica any more",
        args.writing,
        out,
    )
    .await
}
