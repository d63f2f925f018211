//! Where a server of MySQL is.

use crate::rotation::address::Addresses;
use crate::rotation::encrypted::Kind;
pub use crate::rotation::encrypted::Server;
use crate::secrets::SecretValue;

const KIND: Kind = Kind {
    port: 3306,
    danger: "servers of MySQL may ask for the password in ways that others can read",
};

/// Reads where one is, from the keys `host`, `port`, `sslmode` and `ca`.
///
/// # Errors
/// Names the key, and what it has to be.
pub fn server(value: &SecretValue, addresses: Addresses) -> Result<Server, String> {
    Server::read(value, addresses, KIND)
}
