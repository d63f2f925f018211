//! Where a server is and how it proves who it is, as far as the keys of a secret say it alike for all servers.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::secrets::SecretValue;

const HOST: &str = "host";
const PORT: &str = "port";
const AUTHORITY: &str = "ca";
/// The key that says whether there is TLS.
pub(super) const TLS_MODE: &str = "sslmode";

const MAX_HOST: usize = 253;
const MAX_AUTHORITY: usize = 64 * 1024;
/// No number of a port is longer.
const MAX_PORT: usize = 5;
const MAX_TLS_MODE: usize = 16;

/// The text of a key, if it is there.
pub(super) fn text<'a>(
    value: &'a SecretValue,
    key: &str,
    most: usize,
) -> Result<Option<&'a str>, String> {
    let Some(bytes) = value.get(key) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| (1..=most).contains(&text.len()));
    let text = text.ok_or(format!("key `{key}` must be a text of 1 to {most} bytes"))?;
    Ok(Some(text))
}

/// The key `host`: a DNS name or an address, without brackets.
pub(super) fn host(value: &SecretValue) -> Result<String, String> {
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

/// The key `port`.
pub(super) fn port(value: &SecretValue, default: u16) -> Result<u16, String> {
    let Some(text) = text(value, PORT, MAX_PORT)? else {
        return Ok(default);
    };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or(format!("key `{PORT}` must be a number from 1 to 65535"))
}

/// The key `ca`: certificates of an authority, PEM.
pub(super) fn authority(value: &SecretValue) -> Result<Option<String>, String> {
    let authority = text(value, AUTHORITY, MAX_AUTHORITY)?;
    Ok(authority.map(ToOwned::to_owned))
}

/// The key `sslmode`.
pub(super) fn tls_mode(value: &SecretValue) -> Result<Option<&str>, String> {
    text(value, TLS_MODE, MAX_TLS_MODE)
}

/// The name that a server's certificate has to be for.
pub(super) fn certificate_name(host: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| format!("key `{HOST}` is no name that a certificate can be for"))
}

/// TLS that trusts the authority, and no other.
pub(super) fn client_config(authority: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let Some(authority) = authority else {
        return Err(format!(
            "key `{AUTHORITY}` is missing: with `{TLS_MODE}` verify-full, which is the default, it must be the \
             authority's certificate in PEM"
        ));
    };
    let unreadable = || format!("key `{AUTHORITY}` must be certificates in PEM, and one at least");
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

/// How a server is named: an address of IPv6 is in brackets.
pub(super) fn show(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => write!(f, "[{address}]:{port}"),
        Err(_) => write!(f, "{host}:{port}"),
    }
}
