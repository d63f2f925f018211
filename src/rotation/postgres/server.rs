//! Where a server is and how it proves who it is, as the keys of a secret say it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::address::Addresses;
use crate::secrets::SecretValue;

const HOST: &str = "host";
const PORT: &str = "port";
const DATABASE: &str = "dbname";
const AUTHORITY: &str = "ca";
const TLS_MODE: &str = "sslmode";

const DEFAULT_PORT: u16 = 5432;
/// The database that every server has, for tools like this.
const DEFAULT_DATABASE: &str = "postgres";
const MAX_HOST: usize = 253;
const MAX_DATABASE: usize = 63;
const MAX_AUTHORITY: usize = 64 * 1024;
/// No number of a port is longer.
const MAX_PORT: usize = 5;
const MAX_TLS_MODE: usize = 16;

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
    /// Reads the keys `host`, `port`, `dbname`, `sslmode` and `ca`.
    ///
    /// # Errors
    /// Names the key, and what it has to be.
    pub fn from_value(value: &SecretValue, addresses: Addresses) -> Result<Self, String> {
        let server = Self {
            host: host(value)?,
            port: port(value)?,
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

    /// The name that the certificate has to be for.
    pub(super) fn name(&self) -> Result<ServerName<'static>, String> {
        let name = ServerName::try_from(self.host.clone());
        name.map_err(|_| format!("key `{HOST}` is no name that a certificate can be for"))
    }

    /// TLS that trusts the authority, and no other.
    pub(super) fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        let Tls::Verify {
            authority: Some(authority),
        } = &self.tls
        else {
            return Err(format!(
                "key `{AUTHORITY}` is missing: with `{TLS_MODE}` verify-full, which is the default, it must be the \
                 authority's certificate in PEM"
            ));
        };
        let unreadable =
            || format!("key `{AUTHORITY}` must be certificates in PEM, and one at least");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            let certificate = certificate.map_err(|_| unreadable())?;
            roots.add(certificate).map_err(|_| unreadable())?;
        }
        if roots.is_empty() {
            return Err(unreadable());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config
            .with_safe_default_protocol_versions()
            .map_err(|_| "TLS cannot be set up".to_owned())?;
        let config = config.with_root_certificates(roots);
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The text of a key, if it is there.
fn text<'a>(value: &'a SecretValue, key: &str, most: usize) -> Result<Option<&'a str>, String> {
    let Some(bytes) = value.get(key) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| (1..=most).contains(&text.len()));
    let text = text.ok_or(format!("key `{key}` must be a text of 1 to {most} bytes"))?;
    Ok(Some(text))
}

fn host(value: &SecretValue) -> Result<String, String> {
    // An address in brackets is how URLs write it.
    let host = text(value, HOST, MAX_HOST)?.unwrap_or_default();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bare.and_then(|host| host.parse::<Ipv6Addr>().ok()) {
        return Ok(address.to_string());
    }
    let character = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = !host.is_empty() && host.bytes().all(character);
    if name || host.parse::<IpAddr>().is_ok() {
        return Ok(host.to_ascii_lowercase());
    }
    Err(format!(
        "key `{HOST}` must be a DNS name or an address, without port, user or path"
    ))
}

fn port(value: &SecretValue) -> Result<u16, String> {
    let Some(text) = text(value, PORT, MAX_PORT)? else {
        return Ok(DEFAULT_PORT);
    };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or(format!("key `{PORT}` must be a number from 1 to 65535"))
}

fn database(value: &SecretValue) -> Result<String, String> {
    let text = text(value, DATABASE, MAX_DATABASE)?.unwrap_or(DEFAULT_DATABASE);
    if text.contains(char::is_control) {
        return Err(format!("key `{DATABASE}` must not have control characters"));
    }
    Ok(text.to_owned())
}

fn tls(value: &SecretValue) -> Result<Tls, String> {
    let authority = text(value, AUTHORITY, MAX_AUTHORITY)?;
    match text(value, TLS_MODE, MAX_TLS_MODE)? {
        None | Some("verify-full") => Ok(Tls::Verify {
            authority: authority.map(ToOwned::to_owned),
        }),
        Some("disable") => Ok(Tls::Disable),
        // The others of libpq encrypt without asking whom for.
        Some(_) => Err(format!(
            "key `{TLS_MODE}` must be verify-full, which is the default, or disable"
        )),
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
