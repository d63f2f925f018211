//! Replicas and their sources, in this cluster and in others.

pub(super) mod access;
pub(super) mod export;
pub(super) mod exported;
pub(super) mod remote_source;
pub(super) mod replication;
pub(super) mod shares;
pub(super) mod write_export;
