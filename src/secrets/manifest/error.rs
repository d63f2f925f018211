//! What can be wrong with a manifest, or with a change of it.

use super::{FORMAT, Stage, VersionId};

/// Why a manifest cannot be read or changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Written by a release that this one does not understand.
    #[error("the manifest has format {found}, this release reads only format {FORMAT}")]
    UnknownFormat {
        /// The format found.
        found: u64,
    },
    /// No manifest. Where, not what: the text is not repeated.
    #[error("the manifest cannot be parsed, at line {line} column {column}")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// There are versions, and not exactly one is current.
    #[error("{count} of {versions} versions are Current, there must be exactly one")]
    CurrentCount {
        /// How many are current.
        count: usize,
        /// How many there are.
        versions: usize,
    },
    /// A stage on two versions.
    #[error("stage {stage} is on more than one version")]
    StageTwice {
        /// The stage.
        stage: Stage,
    },
    /// A version id that is there already.
    #[error("version {id} exists already")]
    DuplicateVersion {
        /// The id.
        id: VersionId,
    },
    /// A version id that is not there.
    #[error("there is no version {id}")]
    NoSuchVersion {
        /// The id.
        id: VersionId,
    },
    /// Two records of one import, one target or one namespace.
    #[error("{kind} `{name}` is recorded twice")]
    DuplicateRecord {
        /// `import`, `target` or `share`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The sequence number cannot be raised any more.
    #[error("the sequence number is at its end")]
    SequenceExhausted,
}
