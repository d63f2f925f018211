//! The node plugin: it gives pods the values of secrets in files, in memory, and keeps them up to date while the pods live.
//!
//! ```text
//! kubelet ──▶ sockets, grpc, services (CSI, registration) ──▶ publish ──▶ volumes (what is published)
//!                                                               │              ▲        │
//!                    server ◀── client ◀── api ◀────────────────┤         watch, update, report
//!                                                               ▼
//!                                        content (which files: pure) ──▶ tmpfs, writer
//! ```
//!
//! It has no rights of its own to values: each is fetched with the token of the pod that it is for. No value and no token is
//! written to a disk. What is published is known by the mounts alone, so a plugin that starts again has nothing to read: kubelet
//! publishes every volume of a running pod again within about a minute, and until then the files stay as they are.
//!
//! `copier` is another program in the same binary: the init container of a pod with variables.

mod api;
pub mod cli;
mod client;
mod content;
pub mod copier;
mod grpc;
mod health;
mod metrics;
mod note;
mod own;
mod pace;
mod publication;
mod publish;
mod registration;
mod report;
mod run;
mod services;
mod sockets;
mod tls;
mod tmpfs;
mod told;
mod update;
mod volumes;
mod watch;
mod wire;
mod writer;

#[cfg(test)]
mod testing;
