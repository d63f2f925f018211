//! Where a server is and how it proves who it is, as the keys of a secret say it.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::rotation::address::Addresses;
use crate::rotation::endpoint;
use crate::secrets::SecretValue;

const DATABASE: &str = "dbname";

const DEFAULT_PORT: u16 = 5432;
/// The database that every server has, for tools like this.
const DEFAULT_DATABASE: &str = "postgres";
const MAX_DATABASE: usize = 63;

/// How a server proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// TLS, by a certificate for the host that an authority has signed.
    Verify {
        /// Certificates of the authority, PEM. Without them there is nobody to trust: an image has no public ones.
        authority: Option<String>,
    },
    /// No TLS. Passwords are not sent (SCRAM), but whoever is in between can take the session over.
    Disable,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database to log in to.
    pub database: String,
    /// How it proves who it is.
    pub tls: Tls,
    /// Which addresses the host may resolve to.
    pub addresses: Addresses,
}

impl Server {
    /// The name that the certificate has to be for.
    pub(super) fn name(&self) -> Result<ServerName<'static>, String> {
        endpoint::certificate_name(&self.host)
    }

    /// TLS that trusts the authority, and no other.
    pub(super) fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        let authority = match &self.tls {
            Tls::Verify { authority } => authority.as_deref(),
            Tls::Disable => None,
        };
        endpoint::client_config(authority)
    }
}

/// Reads where one is, from the keys `host`, `port`, `dbname`, `sslmode` and `ca`.
///
/// # Errors
/// Names the key, and what it has to be.
pub fn server(value: &SecretValue, addresses: Addresses) -> Result<Server, String> {
    let server = Server {
        host: endpoint::host(value)?,
        port: endpoint::port(value, DEFAULT_PORT)?,
        database: database(value)?,
        tls: tls(value)?,
        addresses,
    };
    // What cannot be used is told now, and not when the first login fails.
    if let Tls::Verify { .. } = server.tls {
        server.name()?;
        server.client_config()?;
    }
    Ok(server)
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        endpoint::show(f, &self.host, self.port)
    }
}

fn database(value: &SecretValue) -> Result<String, String> {
    let text = endpoint::text(value, DATABASE, MAX_DATABASE)?.unwrap_or(DEFAULT_DATABASE);
    if text.contains(char::is_control) {
        return Err(format!("key `{DATABASE}` must not have control characters"));
    }
    Ok(text.to_owned())
}

fn tls(value: &SecretValue) -> Result<Tls, String> {
    let authority = endpoint::authority(value)?;
    match endpoint::tls_mode(value)? {
        None | Some("verify-full") => Ok(Tls::Verify { authority }),
        Some("disable") => Ok(Tls::Disable),
        // The others of libpq encrypt without asking whom for.
        Some(_) => Err(format!(
            "key `{}` must be verify-full, which is the default, or disable",
            endpoint::TLS_MODE
        )),
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
