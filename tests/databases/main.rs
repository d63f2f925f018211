//! Rotators on real databases, which start in a temporary folder for each test.

#![allow(clippy::unwrap_used, reason = "all of this is tests, helpers included")]

mod changes;
mod mysql_and_mariadb;
mod outcomes;
mod postgres;
mod proxy;
mod redis;
