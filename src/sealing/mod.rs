//! What is sealed for Git: where an entry of `spec.sealed` opens, how it is opened and sealed anew, and the private keys as a text
//! that is kept outside of the cluster. No Kubernetes.

mod batch;
mod entry;
mod export;
mod place;

pub use batch::{Answers, BatchError, Item, MAX_ANSWER, Request, resealed};
pub use entry::{Refusal, open, reseal};
pub use export::{ExportError, export, import};
pub use place::{Place, Scope};
