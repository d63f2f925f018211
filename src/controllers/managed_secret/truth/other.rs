//! The value of another secret of a namespace, read in its own name. Whoever names one in a spec was asked by the API server whether
//! he may read its value.

use kube::Api;

use super::super::spec::user_of;
use super::opened::open_stored;
use crate::api::ManagedSecret;
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::uses::{KeyAccess, Reader, Uses};
use crate::secrets::SecretValue;
use crate::truth::Stored;

/// The current value of a secret, with the uses of its key, which are to be written down before anything of it leaves; or, in words,
/// why there is none.
pub(crate) async fn read_other(
    namespace: &str,
    name: &str,
    reader: Reader,
    ctx: &Context,
) -> Result<Result<(SecretValue, Uses), String>, Error> {
    let truth = format!("truth of {namespace}/{name}");
    let stored = call("get", truth, ctx.sealed.get(namespace, name)).await?;
    let api: Api<ManagedSecret> = Api::namespaced(ctx.client.clone(), namespace);
    let object = format!("ManagedSecret {namespace}/{name}");
    let found = call("get", object, api.get_opt(name)).await?;
    let (found, stored) = match claimed(found, stored) {
        Ok(both) => both,
        Err(problem) => return Ok(Err(problem.to_owned())),
    };
    let uses = Uses::of_other(&found, reader);
    let user = user_of(&found, Some(&stored.claim.namespace_uid), ctx.now());
    let opened = open_stored(&stored, &KeyAccess::new(user, &uses, ctx));
    let Ok((_, value)) = opened else {
        uses.record_refused(ctx).await;
        let problem = "its stored value cannot be opened now; its own condition says why";
        return Ok(Err(problem.to_owned()));
    };
    Ok(Ok((value, uses)))
}

/// A secret with the truth that is its own.
fn claimed(
    found: Option<ManagedSecret>,
    stored: Option<Result<Stored, String>>,
) -> Result<(ManagedSecret, Stored), &'static str> {
    let found = found.ok_or("it does not exist; apply it")?;
    let Some(Ok(stored)) = stored else {
        return Err("nothing is stored of it yet; its own condition says why");
    };
    let own = found.metadata.uid.as_ref() == Some(&stored.claim.object_uid);
    if own && stored.parked_since.is_none() {
        return Ok((found, stored));
    }
    Err("it was made anew and has not taken its stored value over yet; its own condition says why")
}
