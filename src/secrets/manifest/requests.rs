//! What users asked for once: remembered with the values, so that neither a restart nor a restored status, nor an annotation
//! that was left in Git, does it twice.

use serde::{Deserialize, Serialize};

use super::{Manifest, ManifestError};
use crate::api::tokens::remember;

/// Most tokens that are remembered; the oldest is forgotten first.
const MAX_TOKENS: usize = 64;

/// Requests that were obeyed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// The last roll back, as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollback: Option<String>,
    /// Tokens that had the generated values made anew, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    regenerate: Vec<String>,
}

impl Requests {
    /// Whether nothing was asked for yet.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Whether that roll back is done.
    pub fn has_rolled_back(&self, request: &str) -> bool {
        self.rollback.as_deref() == Some(request)
    }

    /// Whether values were made anew for that token.
    pub fn has_regenerated(&self, token: &str) -> bool {
        self.regenerate.iter().any(|known| known == token)
    }
}

impl Manifest {
    /// Remembers a roll back.
    ///
    /// # Errors
    /// The sequence number is at its end.
    pub fn record_rollback(&mut self, request: &str) -> Result<(), ManifestError> {
        self.bump()?;
        self.requests.rollback = Some(request.to_owned());
        Ok(())
    }

    /// Remembers that the generated values were made anew for a token.
    ///
    /// # Errors
    /// The sequence number is at its end.
    pub fn record_regeneration(&mut self, token: &str) -> Result<(), ManifestError> {
        self.bump()?;
        remember(&mut self.requests.regenerate, token, MAX_TOKENS);
        Ok(())
    }
}
