//! MySQL, as far as it is not as MariaDB is: other verifiers, two passwords of an account, attributes, hosts of roles.

mod alternating;
mod guards;
mod passwords;
mod single;
mod support;
mod verifiers;
