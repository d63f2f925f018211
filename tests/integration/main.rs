//! Integration tests: the operator's binary with the chart's own rights, on real control planes.
//!
//! Every test starts from [`support::Bed`]: etcd, API server and controller manager in a temporary folder, the chart
//! installed with Helm, and as many operator processes as the test wants.

#![allow(clippy::unwrap_used, reason = "all of this is tests, helpers included")]

mod access;
mod alias;
mod assumptions;
mod audit;
mod author_rights;
mod calling;
mod chaos;
mod chart;
mod consumers;
mod databases;
mod deletion;
mod delivering;
mod delivery;
mod drift;
mod existing;
mod failover;
mod generators;
mod gitops;
mod grants;
mod guard;
mod idle;
mod immutable;
mod injecting;
mod issuers;
mod key_import;
mod key_specs;
mod leader;
mod leaks;
mod loss;
mod memory;
mod namespaces;
mod neighbours;
mod operations;
mod outage;
mod own_code;
mod plugin;
mod policy;
mod reading;
mod recovery;
mod recovery_window;
mod replication;
mod resealing;
mod restore;
mod restored;
mod rollout;
mod root;
mod rotation;
mod schedules;
mod sealed;
mod server;
mod sharing;
mod smoke;
mod sources;
mod support;
mod targets;
mod tokens;
mod trimming;
mod unreadable;
mod validation;
mod versions;
mod warnings;
mod writing;
