//! TLS of the server's listeners: the certificate is followed, and a new one counts for the next connection.

use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::api::names::SERVER_SECRET;
use crate::certificates::served;
use crate::telemetry::Component;
use crate::telling::describe_watch;
use crate::watching::WatchPauses;

/// The certificate that the server shows now.
#[derive(Debug, Default)]
pub(super) struct Certificate(RwLock<Option<Arc<CertifiedKey>>>);

impl Certificate {
    /// Follows the Secret for ever. One that cannot be used leaves the certificate that was shown before.
    pub(super) async fn follow(&self, client: Client, namespace: &str, component: &Component) {
        component.not_ready(format!(
            "the controller has not made Secret {SERVER_SECRET} yet"
        ));
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        let mut watched =
            Box::pin(watch_object(secrets, SERVER_SECRET).backoff(WatchPauses::default()));
        while let Some(secret) = watched.next().await {
            match secret {
                Ok(Some(secret)) => match certified(&secret) {
                    Ok(key) => {
                        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
                        info!("the server's certificate is loaded");
                        component.ready();
                    }
                    Err(problem) => warn!(problem, "Secret {SERVER_SECRET} cannot be used"),
                },
                Ok(None) => warn!("Secret {SERVER_SECRET} is not there"),
                Err(error) => {
                    let error = describe_watch(&error);
                    warn!(
                        error,
                        "the watch of the certificate broke; it is taken up again"
                    );
                }
            }
        }
    }

    /// What makes a TLS connection of a TCP connection. TLS 1.3 only: the API server speaks it.
    pub(super) fn acceptor(self: Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Certificate and key of the Secret; an error never quotes what it holds.
fn certified(secret: &Secret) -> Result<Arc<CertifiedKey>, &'static str> {
    let (chain, key) = served(secret).ok_or("tls.crt or tls.key is missing")?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|_| "tls.crt is no certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls.key is no private key")?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map(Arc::new)
        .map_err(|_| "tls.key does not belong to tls.crt")
}
