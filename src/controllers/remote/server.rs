//! The address of another cluster's API server.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use axum::http::Uri;

/// The port where the address names none.
const HTTPS: u16 = 443;

/// Scheme (always https), host and port: what an address may consist of, and all that is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    host: String,
    port: u16,
}

/// Why a text is no address of an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// It is no URL, or not of https.
    #[error("it must be https://HOST or https://HOST:PORT")]
    Scheme,
    /// There is something before the host.
    #[error("it must have no user name before the host")]
    User,
    /// The host is neither a DNS name nor an address.
    #[error("its host must be a DNS name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// The port is not 1 to 65535.
    #[error("its port must be 1 to 65535")]
    Port,
    /// There is something after the port.
    #[error("it must have no path, query or fragment after the port")]
    Path,
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let uri: Uri = text.parse().map_err(|_| ServerError::Scheme)?;
        if uri.scheme_str() != Some("https") {
            return Err(ServerError::Scheme);
        }
        // `Uri` forgets a fragment without a word.
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(ServerError::Path);
        }
        let authority = uri.authority().ok_or(ServerError::Scheme)?;
        if authority.as_str().contains('@') {
            return Err(ServerError::User);
        }
        let host = host(authority.host()).ok_or(ServerError::Host)?;
        let rest = authority.as_str().get(authority.host().len()..);
        let port = match rest.unwrap_or_default() {
            "" => HTTPS,
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port| *port > 0)
                .ok_or(ServerError::Port)?,
        };
        Ok(Self { host, port })
    }
}

/// The one way to write a host.
fn host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let valid = (1..=253).contains(&text.len()) && text.bytes().all(allowed);
    valid.then(|| text.to_ascii_lowercase())
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_server_is_written_in_one_way() {
        let same = |one: &str, other: &str| {
            let server: Server = one.parse().unwrap();
            assert_eq!(server.to_string(), other);
            assert_eq!(other.parse::<Server>().unwrap(), server);
        };
        same("https://East.example.com", "https://east.example.com:443");
        same(
            "https://east.example.com:6443/",
            "https://east.example.com:6443",
        );
        same("https://[2001:DB8:0::1]:6443", "https://[2001:db8::1]:6443");
        same("https://10.0.0.1:06443", "https://10.0.0.1:6443");
    }

    #[test]
    fn whatever_is_more_than_scheme_host_and_port_is_refused() {
        for (text, error) in [
            ("http://east.example.com", ServerError::Scheme),
            ("east.example.com:6443", ServerError::Scheme),
            ("//east.example.com", ServerError::Scheme),
            ("unix:///run/api.sock", ServerError::Scheme),
            ("", ServerError::Scheme),
            ("https://admin:pw@east.example.com", ServerError::User),
            (
                "https://east.example.com@evil.example.com",
                ServerError::User,
            ),
            ("https://east.example.com:0", ServerError::Port),
            ("https://east.example.com/k8s", ServerError::Path),
            ("https://east.example.com?a=b", ServerError::Path),
            ("https://east.example.com#a", ServerError::Path),
            ("https://east_example.com", ServerError::Host),
            ("https://[::1%25lo]", ServerError::Host),
        ] {
            assert_eq!(text.parse::<Server>(), Err(error), "{text}");
        }
        for text in [
            "https://east.example.com:65536",
            "https://east example.com",
            "https://",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_an_https_address_that_reads_as_itself(text in "(https?://)?[a-zA-Z0-9.:/@?#\\[\\]%_-]{0,40}") {
            if let Ok(server) = text.parse::<Server>() {
                let written = server.to_string();
                prop_assert!(text.starts_with("https://"));
                prop_assert!(!written.contains(['@', '?', '#', '%']));
                let again = written.parse::<Server>();
                prop_assert_eq!(again, Ok(server));
            }
        }
    }
}
