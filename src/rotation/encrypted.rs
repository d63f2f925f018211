//! A server that is spoken to with TLS only, as the keys of a secret say where it is.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::address::Addresses;
use super::endpoint;
use crate::secrets::SecretValue;

/// Where such a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// The port, which must be one with TLS.
    pub port: u16,
    /// Certificates of the authority that has signed the server's, PEM. Without them there is nobody to trust: an image
    /// has no public ones.
    pub authority: Option<String>,
    /// Which addresses the host may resolve to.
    pub addresses: Addresses,
}

/// What a kind of server has of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The port, where nothing is said.
    pub(super) port: u16,
    /// What others could do without TLS.
    pub(super) danger: &'static str,
}

impl Server {
    /// Reads the keys `host`, `port`, `sslmode` and `ca`.
    ///
    /// # Errors
    /// Names the key, and what it has to be.
    pub(super) fn read(
        value: &SecretValue,
        addresses: Addresses,
        kind: Kind,
    ) -> Result<Self, String> {
        let server = Self {
            host: endpoint::host(value)?,
            port: endpoint::port(value, kind.port)?,
            authority: endpoint::authority(value)?,
            addresses,
        };
        if let Some(mode) = endpoint::tls_mode(value)?
            && mode != "verify-full"
        {
            return Err(format!(
                "key `{}` must be verify-full, which is the default: without TLS, {}",
                endpoint::TLS_MODE,
                kind.danger
            ));
        }
        // What cannot be used is told now, and not when the first login fails.
        server.usable()?;
        Ok(server)
    }

    /// Whether there can be TLS with it.
    pub(super) fn usable(&self) -> Result<(), String> {
        self.name()?;
        self.client_config().map(drop)
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

    const KIND: Kind = Kind {
        port: 3306,
        danger: "others could read it",
    };

    fn read(entries: &[(&str, &[u8])]) -> Result<Server, String> {
        let entries = entries
            .iter()
            .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
        let value = SecretValue::from_entries(entries).unwrap();
        Server::read(&value, Addresses::NotLocal, KIND)
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["authority".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn what_a_secret_does_not_say_is_as_usual() {
        let authority = authority();
        let server = read(&[("host", b"DB.example.com"), ("ca", authority.as_bytes())]).unwrap();
        let expected = Server {
            host: "db.example.com".to_owned(),
            port: 3306,
            authority: Some(authority),
            addresses: Addresses::NotLocal,
        };
        assert_eq!(server, expected);
        assert_eq!(server.to_string(), "db.example.com:3306");
    }

    #[test]
    fn a_server_without_tls_or_without_an_authority_is_refused_by_the_name_of_the_key() {
        let authority = authority();
        let (host, ca) = (("host", &b"db"[..]), ("ca", authority.as_bytes()));
        assert!(read(&[host, ca, ("sslmode", b"verify-full"), ("port", b"3307")]).is_ok());
        for (entries, key) in [
            (&[ca][..], "`host`"),
            (&[host], "`ca`"),
            (&[host, ("ca", b"none")], "`ca`"),
            (&[host, ca, ("port", b"0")], "`port`"),
            (&[host, ca, ("sslmode", b"disable")], "`sslmode`"),
            (&[host, ca, ("sslmode", b"require")], "`sslmode`"),
            (&[("host", b"-"), ca], "`host`"),
        ] {
            let refused = read(entries).unwrap_err();
            assert!(refused.contains(key), "{key}: {refused}");
        }
    }
}
