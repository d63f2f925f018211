//! TLS of a connection, and what binds a login to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::tls::TlsConnect;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::watched::{Refusal, Secrecy, Watched};

/// `SSLRequest` (PostgreSQL's manual, "Message Formats"): its length, and the number 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The answer of a server that has TLS.
const WILLING: u8 = b'S';

/// Makes TLS of a connection.
pub(super) struct Connector {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

impl TlsConnect<TcpStream> for Connector {
    type Stream = Watched<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, mut stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            // Asked for here, so that a server without TLS is told from one whose TLS fails.
            stream.write_all(&SSL_REQUEST).await?;
            if stream.read_u8().await? != WILLING {
                return Err(io::Error::other(Refusal::NoTls));
            }
            let connector = TlsConnector::from(self.config);
            let stream = connector.connect(self.name, stream).await?;
            Ok(Watched::new(stream, Secrecy::Encrypted))
        })
    }
}

/// `tls-server-end-point` (RFC 5929, section 4.1): the hash of the server's certificate, by the hash function of its
/// signature, and SHA-256 instead of SHA-1. Nothing for signatures that name no hash function: the login is not bound
/// then, and the certificate was verified all the same.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = &parsed.signature_algorithm.algorithm;
    let is = |oids: &[_]| oids.contains(algorithm);
    let hash = if is(&[
        OID_PKCS1_SHA1WITHRSA,
        OID_PKCS1_SHA256WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256,
    ]) {
        &SHA256
    } else if is(&[OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384]) {
        &SHA384
    } else if is(&[OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512]) {
        &SHA512
    } else {
        return None;
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    fn certificate(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["db".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_login_is_bound_by_the_hash_function_of_the_certificate() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let hash = end_point(&certificate(algorithm));
            assert_eq!(hash.map(|hash| hash.len()), length, "{algorithm:?}");
        }
        assert_eq!(end_point(b"no certificate"), None);
    }
}
