//! Writes of the truth about keys.

use kube::ResourceExt;

use super::context::Context;
use super::error::{Error, call};
use crate::api::KeyMaterial;
use crate::telemetry::Truth;

/// Replaces the truth about a key, in exactly the state that it was read in. What changes in the life of the key goes through
/// [`super::key_changes::KeyChange`], which tells the audit trail.
///
/// # Errors
/// This replica does not lead any more; and those of the API server, a conflict if somebody else wrote meanwhile.
pub(crate) async fn replace(truth: &KeyMaterial, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    let object = format!("KeyMaterial {}", truth.name_any());
    call("replace", object, ctx.materials.replace(truth)).await?;
    ctx.metrics.truth_written(Truth::KeyMaterial);
    Ok(())
}
