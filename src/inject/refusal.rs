//! What a pod is refused for: every reason at once, each with its place and its remedy.

use std::fmt;

/// Most reasons that are told of one pod; whoever has more starts with these.
const MAX_TOLD: usize = 8;
/// Most characters of a name in a message: names are not validated yet when a webhook sees them.
const MAX_SHOWN: usize = 253;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The field, such as `spec.containers[app].env[DB_PASSWORD]`.
    pub path: String,
    /// Why it cannot be.
    pub reason: String,
    /// What to do instead.
    pub remedy: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.path, self.reason, self.remedy)
    }
}

/// Why a pod is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The first reasons, in the order of the pod's fields; at least one.
    pub reasons: Vec<Refused>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, reason) in self.reasons.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{reason}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// What is found while a pod is looked at.
#[derive(Debug, Default)]
pub(super) struct Findings {
    refused: Vec<Refused>,
    more: usize,
    warnings: Vec<String>,
    more_warnings: usize,
}

impl Findings {
    /// Notes a reason to refuse the pod.
    pub(super) fn refuse(
        &mut self,
        path: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.refused.len() == MAX_TOLD {
            self.more += 1;
            return;
        }
        self.refused.push(Refused {
            path: path.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes what the user should know of a pod that is admitted.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        if self.warnings.len() == MAX_TOLD {
            self.more_warnings += 1;
            return;
        }
        self.warnings.push(warning.into());
    }

    /// The warnings, if nothing is refused.
    pub(super) fn conclude(mut self) -> Result<Vec<String>, Refusal> {
        if !self.refused.is_empty() {
            return Err(Refusal {
                reasons: self.refused,
                more: self.more,
            });
        }
        if self.more_warnings > 0 {
            let more = format!("and {} more such warnings", self.more_warnings);
            self.warnings.push(more);
        }
        Ok(self.warnings)
    }
}

/// A name as it is shown in a message.
pub(super) fn shown(name: &str) -> &str {
    match name.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_are_told_at_once_up_to_a_limit() {
        let mut findings = Findings::default();
        for index in 0..10 {
            findings.refuse(format!("spec.volumes[{index}]"), "is so", "do this");
        }
        findings.warn("and this");
        let refusal = findings.conclude().unwrap_err();
        assert_eq!((refusal.reasons.len(), refusal.more), (8, 2));
        let text = refusal.to_string();
        assert!(text.starts_with("spec.volumes[0] is so: do this; spec.volumes[1] "));
        assert!(text.ends_with("spec.volumes[7] is so: do this; and 2 more"));
    }

    #[test]
    fn a_name_of_any_length_is_cut_between_characters() {
        assert_eq!(shown("app"), "app");
        assert_eq!(shown(&"ä".repeat(300)).chars().count(), 253);
    }
}
