//! What is the same for MariaDB and MySQL.

mod alternating;
mod guards;
mod interrupted;
mod single;
