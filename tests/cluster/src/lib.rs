//! A real Kubernetes for tests and the demo.
//!
//! [`ControlPlane`] is etcd, API server and controller manager in a temporary folder, ready in seconds.
//! [`Cluster`] adds a node on which pods run. Everything is built from pinned Go modules by [`Binaries`].
//! [`Postgres`], [`MariaDb`], [`MySql`] and [`Redis`] are databases, of Debian's packages.

mod access;
mod audit;
mod binaries;
mod certificates;
mod components;
mod control_plane;
mod databases;
mod etcd;
mod flags;
mod hex;
mod http;
pub mod images;
mod kubeconfig;
mod node;
mod packages;
mod ports;
mod process;
mod snapshot;
mod state;
mod subject;

pub use audit::{Audit, AuditEvent, AuditMark};
pub use binaries::{Binaries, Set, cache_dir};
pub use components::{Component, ComponentHandle};
pub use control_plane::{ControlPlane, Options};
pub use databases::{
    MariaDb, MariaDbOptions, MySql, MySqlOptions, Postgres, PostgresOptions, Redis, RedisOptions,
    RedisUsers,
};
pub use etcd::Etcd;
pub use images::Image;
pub use node::{Cluster, Network, NodeOptions};
pub use process::Lifetime;
pub use snapshot::Snapshot;
