//! Rotation: when a secret's value is replaced, by which steps, and by whom the other side is told.
//!
//! ```text
//! timing   when a schedule is due              pure
//! machine  what comes next                     pure
//! rotator  what a step outside can come to
//! postgres users of PostgreSQL
//! mysql    users of MySQL and MariaDB
//! webhook  somebody's own code behind a URL
//! change   what a change of a user follows from   for both
//! address  where databases may be                 for both
//! endpoint how secrets say where they are         for both
//! users    whom they change, and by whom          for both
//! ```

pub(crate) mod address;
pub mod change;
mod endpoint;
pub(crate) mod machine;
pub mod mysql;
pub mod postgres;
pub mod rotator;
pub(crate) mod timing;
pub mod users;
pub mod webhook;
