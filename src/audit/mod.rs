//! The audit trail: who used which key, or changed what, in lines that cannot be altered unnoticed.
//!
//! ```text
//! a use of a key ──▶ Entry ──Trail::write──▶ writer thread: chain, bound, one JSON line ──▶ Sink (stdout, file)
//!                              └─ Ok only when the line is written; otherwise the use is refused
//! ```
//!
//! One schema for keys and secrets ([`Entry`]), in the words of AWS `CloudTrail` where they fit. Every line names the hash of
//! the line before it (module `chain`), so that [`Verifier`] finds one that was removed, altered or moved. There is no field
//! for a plaintext or for key material.
//!
//! What it does not do: a hash chain has no secret. Whoever can rewrite the log *and everything after a line* can make
//! another chain, and the last lines of a log can be cut off: send the lines away from the node that writes them.

mod chain;
mod file;
mod record;
mod search;
mod sink;
mod trail;
mod verify;

pub use chain::{Chain, Genesis, Hash, Line, MAX_LINE, ParseLineError, Resumed, is_audit_line};
pub use file::{FileConfig, FileSink, Fsync};
pub use record::{
    Decision, Entry, EventSource, Identity, MAX_PAIRS, Parameters, Resource, ResourceType,
};
pub use search::{KeyQuery, UsedBy, Users};
pub use sink::{Sink, StreamSink};
pub use trail::{OnFailure, Origin, Progress, Trail, Unavailable};
pub use verify::{Finding, Problem, Report, Verifier};
