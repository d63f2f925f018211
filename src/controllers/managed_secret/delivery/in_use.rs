//! Who uses a Secret: a plaintext target that is to become a sealed one, or a former target that is to go. Whoever refers to it would
//! get ciphertext, or nothing. So it waits until nobody does. Pods and workloads are looked at only while such a change is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::observe::Observed;
use super::super::spec::form;
use super::former;
use super::target::Target;
use crate::api::Reason;
use crate::api::managed_secret::{Existing, Form};
use crate::api::names::{SEALED_SUFFIX, SECRET_TYPE_SEALED};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::rollout::cluster::Workloads;

/// How long until the next look at who uses a target. Pods and workloads are not watched.
pub(crate) const AGAIN: Duration = Duration::from_secs(60);
/// Users that a message names.
const NAMED: usize = 5;

/// Who refers to each Secret that was looked at, by its name, or why that is not known.
pub(crate) type Users = Result<BTreeMap<String, Vec<String>>, String>;

/// The plaintext target that is to become a sealed one, if there is one.
fn plaintext(seen: &Observed) -> Option<&Target> {
    let target = seen.target.as_ref().filter(|target| target.is_ours())?;
    // One that was there before keeps its type: what is sealed of it is told by its keys.
    let is_sealed = target.type_ == SECRET_TYPE_SEALED
        || target.existing != Existing::Fail
            && target.owned.iter().all(|key| key.ends_with(SEALED_SUFFIX));
    (form(&seen.secret) == Form::Sealed && !is_sealed).then_some(target)
}

/// Looks for users of what changes only when it is not used: of each as many as a message names, and one more.
pub(crate) async fn users(seen: &Observed, namespace: &str, ctx: &Context) -> Result<Users, Error> {
    let mut names = former::with_users(seen);
    names.extend(plaintext(seen).map(|target| target.name.clone()));
    if names.is_empty() {
        return Ok(Ok(BTreeMap::new()));
    }
    // Where pods are injected as they are made, the templates of workloads may name what becomes sealed.
    let sealed = plaintext(seen).map(|target| target.name.clone());
    let injected = match sealed {
        Some(name) if ctx.opted_in.contains(namespace, ctx).await? => Some(name),
        _ => None,
    };
    let workloads = Workloads { namespace, ctx };
    match workloads.referring(names, NAMED + 1, injected).await {
        Err(error) if error.reason() == Reason::Forbidden => Ok(Err(error.to_string())),
        users => users.map(Ok),
    }
}

/// Why the plaintext is not taken from whoever refers to it.
pub(super) fn held(seen: &Observed) -> Option<String> {
    let target = plaintext(seen)?;
    match seen.users.as_ref().map(|all| all.get(&target.name)) {
        Ok(Some(users)) if users.is_empty() => None,
        Ok(Some(users)) => Some(used_by(users)),
        Ok(None) => Some("who uses it is not known yet".to_owned()),
        Err(problem) => Some(format!("who uses it cannot be found out: {problem}")),
    }
}

/// What is said of plaintext that stays, and how.
pub(super) fn message(name: &str, how: &str, why: &str) -> String {
    format!(
        "Secret {name} stays in plaintext, {how}, and becomes sealed when nothing refers to it: {why}. Or set target.form: Plain"
    )
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
