//! Redis, of Debian's package.

mod alternating;
mod connections;
mod digests;
mod guards;
mod interrupted;
mod keeping;
mod retiring;
mod single;
mod support;
