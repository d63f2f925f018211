//! How another cluster is reached, as a Secret says it: a kubeconfig, or server, authority and token.
//!
//! Of a kubeconfig only what is no more than data is read. Whatever would have the operator run a program, read a file, go another way
//! or trust somebody else is refused by name. The texts that a parser leaves behind are wiped when they are freed, as all memory is.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};

use super::ask::LIMIT;
use super::server::{Server, ServerError};
use crate::crypto::SecretBytes;

/// Most bytes of a kubeconfig, an authority or a token.
const MAX_LENGTH: usize = 64 * 1024;
/// What is read of a cluster.
const CLUSTER: [&str; 2] = ["server", "certificate-authority-data"];
/// What is read of a user.
const USER: [&str; 3] = ["token", "client-certificate-data", "client-key-data"];
/// What a cluster may have, and is not followed.
const REFUSED_OF_CLUSTER: [&str; 6] = [
    "certificate-authority",
    "disable-compression",
    "extensions",
    "insecure-skip-tls-verify",
    "proxy-url",
    "tls-server-name",
];
/// What a user may have, and is not followed.
const REFUSED_OF_USER: [&str; 12] = [
    "as",
    "as-groups",
    "as-uid",
    "as-user-extra",
    "auth-provider",
    "client-certificate",
    "client-key",
    "exec",
    "extensions",
    "password",
    "tokenFile",
    "username",
];

/// A server and the credentials for it.
pub(crate) struct Access {
    /// The server.
    pub(crate) server: Server,
    /// The certificates that it must be signed by, DER.
    authority: Vec<Vec<u8>>,
    login: Login,
}

/// The credentials.
enum Login {
    Token(SecretBytes),
    /// Both PEM, in base64.
    Certificate {
        certificate: String,
        key: SecretBytes,
    },
}

/// What is wrong with a Secret that says how a cluster is reached. Names fields that everybody knows, and nothing that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessError {
    /// It has both forms.
    #[error("it has kubeconfig and {0}: keep one form")]
    BothForms(&'static str),
    /// A field is not there, or no text.
    #[error("{0} is missing, empty or no text")]
    Missing(&'static str),
    /// A field is larger than anything reasonable.
    #[error("{0} has more than {MAX_LENGTH} bytes")]
    TooLong(&'static str),
    /// The kubeconfig is no YAML of the form that kubectl writes.
    #[error("kubeconfig is no YAML that can be read")]
    Yaml,
    /// A name in the kubeconfig leads nowhere, or to two.
    #[error("kubeconfig has not exactly one of {0} with the name that is asked for")]
    Name(&'static str),
    /// The kubeconfig asks for what is not done.
    #[error(
        "kubeconfig has {0}, which is refused: only server and certificate-authority-data of the cluster are read, and token or \
         client-certificate-data with client-key-data of the user"
    )]
    Refused(&'static str),
    /// The kubeconfig has a field that is not known.
    #[error(
        "kubeconfig has a further field in {0}: only server and certificate-authority-data of the cluster are read, and token or \
         client-certificate-data with client-key-data of the user"
    )]
    Unknown(&'static str),
    /// The user has a token and a certificate.
    #[error("kubeconfig has a token and a client certificate: keep one of them")]
    TwoLogins,
    /// The address of the server.
    #[error("server is no address of an API server: {0}")]
    Server(ServerError),
    /// The authority's certificates.
    #[error("{0} has no certificate in PEM, or one that cannot be read")]
    Authority(&'static str),
}

impl Access {
    /// Reads the data of a Secret.
    pub(crate) fn read(data: &BTreeMap<String, SecretBytes>) -> Result<Self, AccessError> {
        if let Some(kubeconfig) = data.get("kubeconfig") {
            let other = ["server", "ca.crt", "token"];
            let other = other.into_iter().find(|key| data.contains_key(*key));
            return match other {
                Some(other) => Err(AccessError::BothForms(other)),
                None => from_kubeconfig(text(Some(kubeconfig), "kubeconfig")?),
            };
        }
        let server = text(data.get("server"), "server")?;
        let token = text(data.get("token"), "token")?;
        Ok(Self {
            server: server.trim().parse().map_err(AccessError::Server)?,
            authority: certificates(text(data.get("ca.crt"), "ca.crt")?.as_bytes(), "ca.crt")?,
            login: Login::Token(SecretBytes::copy_of(token.trim().as_bytes())),
        })
    }

    /// The configuration of a client that reaches this server and no other, and trusts its authority and no other.
    pub(super) fn config(&self) -> Option<Config> {
        let mut config = Config::new(self.server.to_string().parse().ok()?);
        config.root_cert = Some(self.authority.clone());
        config.connect_timeout = Some(LIMIT);
        config.read_timeout = Some(LIMIT);
        config.default_retry = false;
        let text = |secret: &SecretBytes| String::from_utf8(secret.expose().to_vec()).ok();
        match &self.login {
            Login::Token(token) => config.auth_info.token = Some(text(token)?.into()),
            Login::Certificate { certificate, key } => {
                config.auth_info.client_certificate_data = Some(certificate.clone());
                config.auth_info.client_key_data = Some(text(key)?.into());
            }
        }
        Some(config)
    }
}

fn text<'a>(bytes: Option<&'a SecretBytes>, field: &'static str) -> Result<&'a str, AccessError> {
    let bytes = bytes.ok_or(AccessError::Missing(field))?.expose();
    if bytes.len() > MAX_LENGTH {
        return Err(AccessError::TooLong(field));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| AccessError::Missing(field))?;
    (!text.trim().is_empty())
        .then_some(text)
        .ok_or(AccessError::Missing(field))
}

fn from_kubeconfig(text: &str) -> Result<Access, AccessError> {
    let file: Value = serde_saphyr::from_str(text).map_err(|_| AccessError::Yaml)?;
    let file = file.as_object().ok_or(AccessError::Yaml)?;
    let current = field(file, "current-context")?;
    let context = named(file, ("contexts", "context"), current)?;
    let cluster = named(file, ("clusters", "cluster"), field(context, "cluster")?)?;
    let user = named(file, ("users", "user"), field(context, "user")?)?;
    only(cluster, "cluster", &CLUSTER, &REFUSED_OF_CLUSTER)?;
    only(user, "user", &USER, &REFUSED_OF_USER)?;
    let server = field(cluster, "server")?;
    let authority = BASE64
        .decode(field(cluster, "certificate-authority-data")?)
        .map_err(|_| AccessError::Authority("certificate-authority-data"))?;
    Ok(Access {
        server: server.parse().map_err(AccessError::Server)?,
        authority: certificates(&authority, "certificate-authority-data")?,
        login: login(user)?,
    })
}

fn login(user: &Map<String, Value>) -> Result<Login, AccessError> {
    let by_certificate = USER[1..].iter().any(|field| user.contains_key(*field));
    match (user.contains_key("token"), by_certificate) {
        (true, true) => Err(AccessError::TwoLogins),
        (_, false) => {
            let token = field(user, "token")?;
            Ok(Login::Token(SecretBytes::copy_of(token.as_bytes())))
        }
        (false, true) => Ok(Login::Certificate {
            certificate: field(user, "client-certificate-data")?.to_owned(),
            key: SecretBytes::copy_of(field(user, "client-key-data")?.as_bytes()),
        }),
    }
}

/// A field that must be there, and a text.
fn field<'a>(of: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, AccessError> {
    let text = of.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
        .ok_or(AccessError::Missing(name))
}

/// The only entry of that name in one of the lists, which have `name` and one thing more.
fn named<'a>(
    file: &'a Map<String, Value>,
    (list, inner): (&'static str, &'static str),
    name: &str,
) -> Result<&'a Map<String, Value>, AccessError> {
    let entries = file.get(list).and_then(Value::as_array);
    let mut found = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
    match (found.next(), found.next()) {
        (Some(entry), None) => entry.get(inner).and_then(Value::as_object),
        _ => None,
    }
    .ok_or(AccessError::Name(list))
}

/// Refuses every field but those.
fn only(
    of: &Map<String, Value>,
    what: &'static str,
    allowed: &[&str],
    refused: &[&'static str],
) -> Result<(), AccessError> {
    if let Some(field) = refused.iter().find(|field| of.contains_key(**field)) {
        return Err(AccessError::Refused(field));
    }
    let unknown = of.keys().any(|field| !allowed.contains(&field.as_str()));
    if unknown {
        return Err(AccessError::Unknown(what));
    }
    Ok(())
}

fn certificates(pem: &[u8], field: &'static str) -> Result<Vec<Vec<u8>>, AccessError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect();
    read.ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or(AccessError::Authority(field))
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
