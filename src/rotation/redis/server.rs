//! Where a server of Redis is. A login there is the password itself.

use crate::rotation::address::Addresses;
use crate::rotation::encrypted::Kind;
pub use crate::rotation::encrypted::Server;
use crate::secrets::SecretValue;

const KIND: Kind = Kind {
    port: 6379,
    danger: "others could read the password, which Redis is sent at each login",
};

/// Reads where one is, from the keys `host`, `port`, `sslmode` and `ca`.
///
/// # Errors
/// Names the key, and what it has to be.
pub fn server(value: &SecretValue, addresses: Addresses) -> Result<Server, String> {
    Server::read(value, addresses, KIND)
}
