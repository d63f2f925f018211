//! Restarts of the workloads that use a secret: who is restarted, when, and how.
//!
//! `windows`, `uses`, `workload` and `plan` are pure; `cluster` looks and restarts. What is remembered is part of the truth
//! about the secret, which its controller writes.

pub(crate) mod cluster;
pub(crate) mod plan;
mod referring;
pub(crate) mod report;
mod uses;
mod windows;
mod workload;

pub(crate) use uses::{Delivered, is_mounted_in_part};
