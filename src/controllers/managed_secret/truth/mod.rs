//! What is kept of a secret: its truth opened and written, how much of its past, and what becomes of it when its resource is gone.

pub(crate) mod absence;
pub(super) mod base;
pub(super) mod history;
pub(crate) mod opened;
pub(crate) mod other;
pub(crate) mod purge;
pub(super) mod write;
