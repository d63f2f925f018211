//! Keystead: customer-managed keys and envelope-encrypted secrets that live in a Kubernetes cluster.
//!
//! Arrows point one way:
//!
//! ```text
//! cli ──▶ controllers ──▶ secrets (versions, generators, templates: pure)
//!              │     ├──▶ keys (keyring) ──▶ crypto (envelope, wrap: no Kubernetes)
//!              │     └──▶ truth (what must not be lost), roots (root key), installation
//!   │          └──▶ leader, telemetry, listen, clock, watching, telling
//!   └▶ server (replicas that hold the keys and serve the webhooks) ──▶ keys, installation, roots
//! rotation: how a secret's next value becomes true outside, on a database (no Kubernetes)
//! node: the plugin of each node, which gives pods files (its own binary; asks the server, knows no Kubernetes)
//! plugin: `kubectl keystead`, by the user's own rights and plain objects of the API
//! consumers: which pods have which version of a secret (pure)
//! inject: what becomes of a pod that refers to sealed secrets (pure)
//! sealing: what is sealed for Git, opened and sealed anew (no Kubernetes)
//! certificates: what authenticates the server (made by the controller)
//! policy: who may do what with a key (pure); authorization: what RBAC says
//! audit: who did what, in lines that cannot be altered unnoticed
//! api: the resource types everybody speaks
//! ```
//!
//! Every controller does the same four things in the same order: `observe` (all look-ups) → `plan`
//! (pure: what is, what should be, now; a fixed point) → `apply` (one idempotent effect per step) → status.

pub mod api;
pub mod audit;
pub mod authorization;
pub mod calling;
pub mod certificates;
pub mod cli;
pub mod clock;
mod consumers;
pub mod controllers;
pub mod crypto;
pub mod hex;
pub mod inject;
pub mod installation;
pub mod keys;
pub mod leader;
pub mod listen;
pub mod node;
pub mod plugin;
pub mod policy;
pub mod proof;
pub mod remember;
pub mod roots;
pub mod rotation;
pub mod sealing;
pub mod secrets;
pub mod server;
pub mod telemetry;
pub mod telling;
pub mod truth;
pub mod watching;
