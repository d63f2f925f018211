//! Real databases, for tests of rotation.

mod postgres;

pub use postgres::{Postgres, PostgresOptions};
