//! End-to-end tests: the image and the chart on a real node, used as people use them, with kubectl and helm.
//!
//! All tests share one cluster and take turns on it. It is a node on this machine (root is needed), or any cluster
//! that `KEYSTEAD_E2E_KUBECONFIG` names; see [`target`].

#![allow(clippy::unwrap_used, reason = "all of this is tests, helpers included")]

mod bed;
mod examples;
mod faults;
mod injection;
mod installation;
mod logins;
mod node;
mod numbers;
mod plugin;
mod reading;
mod rotation;
mod rotators;
mod server;
mod skew;
mod survival;
mod target;
mod tokens;
mod tools;
mod workloads;
