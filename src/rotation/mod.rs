//! Rotation: when a secret's value is replaced, by which steps, and by whom the other side is told.
//!
//! ```text
//! timing   when a schedule is due              pure
//! machine  what comes next                     pure
//! rotator  what a step outside can come to
//! postgres users of PostgreSQL
//! mysql    users of MySQL and MariaDB
//! redis    users of Redis and Valkey
//! webhook  somebody's own code behind a URL
//! change   what a change of a user follows from   for all databases
//! address  where what is called may be            for all
//! endpoint how secrets say where they are         for all databases
//! encrypted a server that has TLS                  for MySQL and Redis
//! users    whom they change, and by whom          for all databases
//! ```

pub(crate) mod address;
pub mod change;
mod encrypted;
mod endpoint;
pub(crate) mod machine;
pub mod mysql;
pub mod postgres;
pub mod redis;
pub mod rotator;
pub(crate) mod timing;
pub mod users;
pub mod webhook;
