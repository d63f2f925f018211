//! A plaintext target that is to become a sealed one: who refers to it would get ciphertext, or nothing. So it waits until nobody
//! does. Pods and workloads are looked at only while such a change is asked for.

use super::observe::Observed;
use super::spec::form;
use super::step::Refusal;
use super::target::Target;
use crate::api::Reason;
use crate::api::managed_secret::Form;
use crate::api::names::SECRET_TYPE_SEALED;
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::rollout::Delivered;
use crate::controllers::rollout::cluster::Workloads;

/// Users that a message names.
const NAMED: usize = 5;

/// Who refers to a plaintext target that is to become a sealed one, or why that is not known.
pub(crate) type Users = Result<Vec<String>, String>;

/// The plaintext target that is to become a sealed one, if there is one.
fn plaintext(seen: &Observed) -> Option<&Target> {
    let target = seen.target.as_ref().filter(|target| target.is_ours());
    target.filter(|target| form(&seen.secret) == Form::Sealed && target.type_ != SECRET_TYPE_SEALED)
}

/// Looks for users of the plaintext target, if it is to become a sealed one: as many as a message names, and one more.
pub(super) async fn users(seen: &Observed, namespace: &str, ctx: &Context) -> Result<Users, Error> {
    let Some(target) = plaintext(seen) else {
        return Ok(Ok(Vec::new()));
    };
    let delivered = Delivered {
        target: Some(target.name.clone()),
        secret: None,
    };
    let workloads = Workloads { namespace, ctx };
    match workloads.referring(&delivered, NAMED + 1).await {
        Err(error) if error.reason() == Reason::Forbidden => Ok(Err(error.to_string())),
        users => users.map(Ok),
    }
}

/// Refuses to take the plaintext from whoever refers to it.
pub(super) fn check(seen: &Observed) -> Result<(), Refusal> {
    let Some(target) = plaintext(seen) else {
        return Ok(());
    };
    let held = match &seen.users {
        Ok(users) if users.is_empty() => return Ok(()),
        Ok(users) => used_by(users),
        Err(problem) => format!("who uses it cannot be found out: {problem}"),
    };
    let message = format!(
        "Secret {} stays as it is, in plaintext, and becomes sealed when nothing refers to it: {held}. Or set target.form: Plain",
        target.name
    );
    Err(Refusal(Reason::TargetInUse, message))
}

fn used_by(users: &[String]) -> String {
    let more = if users.len() > NAMED {
        " and others"
    } else {
        ""
    };
    let named = users.iter().take(NAMED);
    let named: Vec<_> = named.map(String::as_str).collect();
    format!(
        "{}{more} get it by a volume, an environment variable or as a pull secret; take that out of them",
        named.join(", ")
    )
}
