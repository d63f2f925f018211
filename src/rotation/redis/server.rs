//! Where a server is and how it proves who it is, as the keys of a secret say it.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::rotation::address::Addresses;
use crate::rotation::endpoint;
use crate::secrets::SecretValue;

const DEFAULT_PORT: u16 = 6379;

/// Where a server is. It is spoken to with TLS only: a login of Redis is the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// The port, which must be one with TLS (`tls-port`).
    pub port: u16,
    /// Certificates of the authority that has signed the server's, PEM. Without them there is nobody to trust: an image
    /// has no public ones.
    pub authority: Option<String>,
    /// Which addresses the host may resolve to.
    pub addresses: Addresses,
}

impl Server {
    /// Reads the keys `host`, `port`, `sslmode` and `ca`.
    ///
    /// # Errors
    /// Names the key, and what it has to be.
    pub fn from_value(value: &SecretValue, addresses: Addresses) -> Result<Self, String> {
        let server = Self {
            host: endpoint::host(value)?,
            port: endpoint::port(value, DEFAULT_PORT)?,
            authority: endpoint::authority(value)?,
            addresses,
        };
        if let Some(mode) = endpoint::tls_mode(value)?
            && mode != "verify-full"
        {
            return Err(format!(
                "key `{}` must be verify-full, which is the default: without TLS, others could read the password, which \
                 Redis is sent at each login",
                endpoint::TLS_MODE
            ));
        }
        // What cannot be used is told now, and not when the first login fails.
        server.name()?;
        server.client_config()?;
        Ok(server)
    }

    /// The name that the certificate has to be for.
    pub(super) fn name(&self) -> Result<ServerName<'static>, String> {
        endpoint::certificate_name(&self.host)
    }

    /// TLS that trusts the authority, and no other.
    pub(super) fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        endpoint::client_config(self.authority.as_deref())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        endpoint::show(f, &self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretBytes;

    fn read(entries: &[(&str, &[u8])]) -> Result<Server, String> {
        let entries = entries
            .iter()
            .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
        let value = SecretValue::from_entries(entries).unwrap();
        Server::from_value(&value, Addresses::NotLocal)
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["authority".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn what_a_secret_does_not_say_is_as_usual() {
        let authority = authority();
        let server = read(&[("host", b"Cache.example.com"), ("ca", authority.as_bytes())]).unwrap();
        let expected = Server {
            host: "cache.example.com".to_owned(),
            port: 6379,
            authority: Some(authority),
            addresses: Addresses::NotLocal,
        };
        assert_eq!(server, expected);
        assert_eq!(server.to_string(), "cache.example.com:6379");
    }

    #[test]
    fn a_server_without_tls_or_without_an_authority_is_refused_by_the_name_of_the_key() {
        let authority = authority();
        let (host, ca) = (("host", &b"cache"[..]), ("ca", authority.as_bytes()));
        assert!(read(&[host, ca, ("sslmode", b"verify-full"), ("port", b"6380")]).is_ok());
        for (entries, key) in [
            (&[ca][..], "`host`"),
            (&[host], "`ca`"),
            (&[host, ("ca", b"none")], "`ca`"),
            (&[host, ca, ("port", b"0")], "`port`"),
            (&[host, ca, ("sslmode", b"disable")], "`sslmode`"),
            (&[("host", b"-"), ca], "`host`"),
        ] {
            let refused = read(entries).unwrap_err();
            assert!(refused.contains(key), "{key}: {refused}");
        }
    }
}
