//! An earlier version back: whether the spec, which decides, would leave it as it is.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::super::observe::Observed;
use super::super::requests::{Rollback, rollback};
use super::super::step::{Refusal, internal, with_causes};
use super::super::truth::base::Base;
use super::value::{Next, Wanted};
use crate::api::names::ANNOTATION_ROLLBACK;
use crate::crypto::Random;
use crate::secrets::{Assembled, Authorities, SecretValue, Stored, Substitutes, VersionRecord};

/// Makes an earlier version current again, if that is asked for and the spec, which decides, would leave it as it is.
pub(super) fn go_back<'a>(
    seen: &'a Observed,
    base: &Base<'_>,
    wanted: &Wanted<'_>,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<Next<'a>, Refusal> {
    let manifest = base.truth().map(|truth| &truth.manifest);
    let mut next = Next::from(manifest.cloned().unwrap_or_default());
    let (version, request) = match rollback(&seen.secret, manifest) {
        Rollback::None => return Ok(next),
        Rollback::Refused(why) => {
            next.note = Some(why);
            return Ok(next);
        }
        Rollback::To { version, request } => (version, request),
    };
    let earlier = match &seen.earlier {
        Some(Ok(earlier)) => earlier,
        Some(Err(Refusal(reason, message))) => return Err(Refusal(*reason, message.clone())),
        None => return Err(internal(&"the version to go back to was not read")),
    };
    let record = manifest.and_then(|manifest| manifest.version(&version));
    if let Some(conflict) = conflict(earlier, record, wanted, seen, now, random) {
        next.note = Some(format!(
            "{ANNOTATION_ROLLBACK}: {request} is not done, since the spec asks for other than that version has: {conflict}; \
             change the spec first"
        ));
        return Ok(next);
    }
    let manifest = &mut next.manifest;
    manifest
        .promote(&version)
        .and_then(|_| manifest.record_rollback(&request))
        .map_err(|error| internal(&error))?;
    next.stored = Some(earlier);
    Ok(next)
}

/// In what the spec would not leave a version as it is, for people; `None` if it would.
pub(super) fn conflict(
    earlier: &SecretValue,
    record: Option<&VersionRecord>,
    wanted: &Wanted<'_>,
    seen: &Observed,
    now: Timestamp,
    random: &mut dyn Random,
) -> Option<String> {
    let previous = record.map(|record| Stored {
        value: earlier,
        derivations: &record.derivations,
    });
    // Whose certificates would have to be signed anew does not say what is asked for: nobody is asked to sign.
    let unasked = Authorities::new();
    let nothing = Substitutes::new();
    let substitutes = record.map_or(&nothing, |record| &record.substitutes);
    let kept = (Some(earlier), previous);
    match wanted.assemble(kept, substitutes, &unasked, seen, now, random) {
        Ok(Assembled::Unchanged) => None,
        Ok(Assembled::Changed(other)) => Some(differing(earlier, &other)),
        Err(error) => Some(with_causes(&error)),
    }
}

/// The keys in which two values differ, for people.
fn differing(one: &SecretValue, other: &SecretValue) -> String {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differing: Vec<_> = keys
        .into_iter()
        .filter(|key| one.get(key) != other.get(key))
        .collect();
    format!("keys {}", differing.join(", "))
}
