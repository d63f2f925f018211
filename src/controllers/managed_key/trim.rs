//! When old material of a key is removed: only what a count has found unneeded for long, and finds unneeded still. Pure.
//!
//! ```text
//! a former generation ──nothing needs it──▶ marked ──the wait is over, and a fresh count──▶ removed
//!                            ◀── something needs it, or the key waits for its end ──┘
//! ```
//!
//! Only ciphertext that is stored or delivered can be counted. So only keys are trimmed that never encrypt anything else:
//! `keystead-default`, of which every use is by a secret of its own namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::names::DEFAULT_KEY;
use crate::api::{KeyMaterialSpec, MaterialGeneration};

/// What is known at a look.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The time: the earlier one of this process's clock and the API server's.
    pub(crate) now: Timestamp,
    /// How long nothing may have needed a generation.
    pub(crate) wait: SignedDuration,
    /// Whether something needs the generation.
    pub(crate) is_needed: &'a dyn Fn(&MaterialGeneration) -> bool,
    /// Whether nothing is removed now: a restore is suspected, or the count is too old.
    pub(crate) held: bool,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trimmed {
    /// The truth as it should be.
    pub(crate) spec: KeyMaterialSpec,
    /// The versions that are removed.
    pub(crate) removed: Vec<u32>,
}

/// Whether the key may have a generation that is removed some day.
pub(crate) fn is_candidate(spec: &KeyMaterialSpec) -> bool {
    spec.name == DEFAULT_KEY && spec.generations.len() > 1 && spec.destroyed.is_none()
}

/// Decides.
pub(crate) fn trim(spec: &KeyMaterialSpec, facts: &Facts<'_>) -> Trimmed {
    let mut trimmed = Trimmed {
        spec: spec.clone(),
        removed: Vec::new(),
    };
    if !is_candidate(spec) {
        return trimmed;
    }
    // What waits for its end, or to be taken over, is left whole; the wait begins anew afterwards.
    let rests = spec.parked_since.is_some() || spec.deletion.is_some();
    let current = spec.generations.last().map(|g| g.version);
    let kept = |mut generation: MaterialGeneration| {
        let used = rests || Some(generation.version) == current || (facts.is_needed)(&generation);
        if used {
            generation.unused_since = None;
        } else if generation.unused_since.is_none() {
            generation.unused_since = Some(Time(facts.now));
        } else if is_over(&generation, facts) {
            trimmed.removed.push(generation.version);
            return None;
        }
        Some(generation)
    };
    trimmed.spec.generations = spec.generations.iter().cloned().filter_map(kept).collect();
    trimmed
}

fn is_over(generation: &MaterialGeneration, facts: &Facts<'_>) -> bool {
    let since = generation.unused_since.as_ref().map(|since| since.0);
    let end = since.and_then(|since| since.checked_add(facts.wait).ok());
    !facts.held && end.is_some_and(|end| end <= facts.now)
}

#[cfg(test)]
#[path = "trim_tests.rs"]
mod tests;
