//! MariaDB, as far as it is not as MySQL is, and connections, which are the same for both.

mod alternating;
mod connections;
mod guards;
mod refusals;
mod single;
mod support;
mod verifiers;
