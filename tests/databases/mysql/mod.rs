//! MariaDB, of Debian's package, as the server of MySQL's kind that there is.

mod alternating;
mod connections;
mod guards;
mod interrupted;
mod single;
mod support;
mod verifiers;
