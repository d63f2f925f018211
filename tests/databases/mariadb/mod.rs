//! MariaDB, whose rotator is that of MySQL.

mod alternating;
mod connections;
mod guards;
mod interrupted;
mod single;
mod support;
mod verifiers;
