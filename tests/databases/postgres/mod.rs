//! PostgreSQL, of Debian's package.

mod alternating;
mod connections;
mod guards;
mod interrupted;
mod single;
mod support;
mod verifiers;
