//! Targets that have one content for life, `spec.target.immutable`: which Secret has which content.
//!
//! The name is `<name>-<suffix>`. The suffix is made of ids and never of a value: a hash of a short value, which everybody may see
//! who lists names, would give it away. That the content is another one is found out by a keyed hash in the truth, where the name is
//! written down, too, before the Secret is made: so a restart, another leader and restored truth come to the same name, and a
//! content that comes back while its Secret is kept is delivered in that one again.
//!
//! Only plaintext is delivered so. Sealed entries are encrypted anew when the key rotates, which an immutable Secret refuses. A new
//! name for each rotation would have workloads name another Secret although nothing of their values changes, and the former
//! Secret, kept as long as it is used, would need old material that nobody could trim: consumers would hold up the end of a key.

use super::super::observe::Observed;
use super::super::spec::{is_immutable, target_base, target_name};
use super::super::step::{Refusal, internal};
use super::former::is_found;
use crate::api::ManagedSecret;
use crate::crypto::Random;
use crate::hex::Hex;
use crate::secrets::{ContentMark, FixedContent, Manifest, SecretValue, TargetRecord};

/// Characters of a suffix that say which version it was that first had the content.
const VERSION: usize = 8;
/// Random bytes of a suffix: a template may make several contents of one version.
const UNIQUE: usize = 3;
/// Characters of a suffix with its dashes.
const SUFFIX: usize = 1 + VERSION + 1 + 2 * UNIQUE;
/// Most former Secrets that are kept because they are used. Each is looked at whenever its secret is, and has its place in the truth.
const MOST_FORMER: usize = 20;

/// Where a content is delivered.
pub(crate) struct Place {
    /// Name of the Secret.
    pub(crate) name: String,
    /// What it has for life; `None` for one whose content changes.
    pub(crate) fixed: Option<FixedContent>,
    /// Whether that is another content, and there is no room for one more Secret.
    pub(crate) is_full: bool,
}

/// Whether a record is of a Secret that had, or has, one of the contents of the target as it is named now.
pub(super) fn is_in_series(secret: &ManagedSecret, record: &TargetRecord) -> bool {
    let Some(base) = target_base(secret).filter(|_| is_immutable(secret)) else {
        return false;
    };
    let suffix = record.name.strip_prefix(&base);
    record.fixed.is_some() && suffix.is_some_and(|suffix| suffix.len() == SUFFIX)
}

/// Name of the Secret that is the target as far as the truth says, before it is known whether the content is another one.
pub(crate) fn name_so_far(secret: &ManagedSecret, manifest: Option<&Manifest>) -> Option<String> {
    if !is_immutable(secret) {
        return target_name(secret);
    }
    let mut records = manifest?.targets().iter().rev();
    let last = records.find(|record| is_in_series(secret, record))?;
    Some(last.name.clone())
}

/// Where a content is delivered, if it is.
pub(crate) fn place(
    seen: &Observed,
    manifest: &Manifest,
    content: &SecretValue,
    type_: &str,
    random: &mut dyn Random,
) -> Result<Option<Place>, Refusal> {
    let secret = &*seen.secret;
    if !is_immutable(secret) {
        return Ok(target_name(secret).map(|name| Place {
            name,
            fixed: None,
            is_full: false,
        }));
    }
    let in_series = manifest.targets().iter().rev();
    let in_series: Vec<_> = in_series
        .filter(|record| is_in_series(secret, record))
        .collect();
    let has_it = |record: &&&TargetRecord| {
        let fixed = record.fixed.as_ref();
        fixed.is_some_and(|fixed| fixed.type_ == type_ && fixed.mark.is_of(content))
    };
    let at = |record: &TargetRecord, is_full| Place {
        name: record.name.clone(),
        fixed: record.fixed.clone(),
        is_full,
    };
    if let Some(known) = in_series.iter().find(has_it) {
        return Ok(Some(at(known, false)));
    }
    let kept = in_series
        .iter()
        .filter(|record| is_found(seen, &record.name));
    if let Some(last) = in_series.first()
        // The present one and the one before it are not among those that are used.
        && kept.count() > MOST_FORMER + 1
    {
        return Ok(Some(at(last, true)));
    }
    let (Some(base), Some(version)) = (target_base(secret), manifest.current()) else {
        return Ok(None);
    };
    let mut unique = [0; UNIQUE];
    random.fill(&mut unique).map_err(|error| internal(&error))?;
    let mark = ContentMark::of(content, random).map_err(|error| internal(&error))?;
    let version = &version.id.as_str()[..VERSION];
    Ok(Some(Place {
        name: format!("{base}-{version}-{}", Hex(&unique)),
        fixed: Some(FixedContent {
            type_: type_.to_owned(),
            mark,
        }),
        is_full: false,
    }))
}

/// Why another content is not delivered.
pub(super) fn full(name: &str) -> String {
    format!(
        "Secret {name} stays the target, with what it has, since {MOST_FORMER} former Secrets are used still \
         (status.formerTargets); what is new is delivered when nothing refers to one of them: have the workloads name the target"
    )
}

#[cfg(test)]
#[path = "immutable_tests.rs"]
mod tests;
