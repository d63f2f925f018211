//! The Secrets Manager domain: what a secret's next value is, and which version of it counts.
//!
//! Everything here is pure: no Kubernetes client, no clock, no randomness of its own. Time and
//! randomness are arguments, so that a controller can plan with a fixed instant and a test can
//! repeat what happened. Sealing what these types hold is not done here.
//!
//! ```text
//! current version ─┐
//! literals ────────┤
//! imported keys ───┼─► merge::assemble ─► SecretValue ─┬─► encode ─► (sealed by the caller)
//! generators ──────┘                                   └─► Template::render ─► one target key
//!                      Manifest: which version is Current, Previous; what was imported, written
//! ```

mod buffer;
mod contexts;
mod delivered;
pub mod generate;
pub mod manifest;
pub mod merge;
mod order;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod value;

pub use contexts::{change_context, manifest_context, version_context};
pub use delivered::{DeliveredError, delivered};
pub use generate::{
    Authorities, CertificateFacts, Derivations, Generator, GeneratorError, IssuerRef,
    NamedGenerator, PasswordPolicy, Recipe, RecipeError, Signer, Stored,
};
pub use manifest::{
    Consumer, ContentMark, ExportRecord, FixedContent, ImportRecord, Manifest, ManifestError,
    NewVersion, ReplicaRecord, Restarted, Retention, Rolling, RolloutRecord, Running, Search,
    SecretRotation, ShareRecord, Stage, StageLabel, Substitute, Substitutes, TargetRecord,
    VersionId, VersionRecord,
};
pub use merge::{
    AssembleError, Assembled, ImportedKey, Kept, SealedKey, Source, Sources, assemble, derivations,
};
pub use template::{Template, TemplateError, TemplateProblem};
pub use text::{TextError, from_bytes, from_text};
pub use value::{KeyNameError, MAX_PLAINTEXT, SecretValue, ValueError};
