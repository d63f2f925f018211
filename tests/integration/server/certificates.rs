//! Certificates are renewed without a restart, and old and new trust overlap.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Bed, Operator, eventually};

const DAY: i64 = 86_400;

/// A time source that is moved like the clocks of the operator.
#[derive(Debug)]
struct Moved(i64);

impl Moved {
    fn now(&self) -> UnixTime {
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap() + self.0;
        UnixTime::since_unix_epoch(Duration::from_secs(now.try_into().unwrap()))
    }
}

impl rustls::time_provider::TimeProvider for Moved {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

/// A connection to a server's webhooks by somebody who trusts that bundle and lives at that distance from now.
pub(super) async fn connect(
    server: &Operator,
    bundle: &[CertificateDer<'static>],
    offset: i64,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(bundle.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(Moved(offset)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", server.webhook_port())).await?;
    let host = ServerName::try_from("keystead-server.keystead-system.svc").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(host, stream)
        .await
}

/// The certificate that a server shows, if who trusts that bundle accepts it.
async fn shown(
    server: &Operator,
    bundle: &[CertificateDer<'static>],
    offset: i64,
) -> Option<CertificateDer<'static>> {
    let stream = connect(server, bundle, offset).await.ok()?;
    Some(
        stream
            .get_ref()
            .1
            .peer_certificates()?
            .first()?
            .clone()
            .into_owned(),
    )
}

/// Whether who trusts that bundle accepts a certificate.
fn accepts(
    bundle: &[CertificateDer<'static>],
    certificate: &CertificateDer<'_>,
    offset: i64,
) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(bundle.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let host = ServerName::try_from("keystead-server.keystead-system.svc").unwrap();
    let verified = verifier.build().unwrap().verify_server_cert(
        certificate,
        &[],
        &host,
        &[],
        Moved(offset).now(),
    );
    verified.is_ok()
}

/// Waits until another certificate than `old` is shown and accepted; returns it.
async fn renewed(
    bed: &Bed,
    server: &Operator,
    old: &CertificateDer<'static>,
    offset: i64,
) -> CertificateDer<'static> {
    eventually("another certificate is shown and accepted", || async {
        let shown = shown(server, &bed.trusted().await, offset).await;
        shown.is_some_and(|shown| shown != *old)
    })
    .await;
    shown(server, &bed.trusted().await, offset).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_without_a_restart_and_trust_overlaps() {
    let bed = Bed::start().await;
    let _controller = bed.operator().await;
    let mut server = bed.server_named("one").await;
    server.wait_ready().await;
    let pid = server.pid();
    eventually("the API server trusts the authority", || async {
        bed.trusted().await.len() == 1
    })
    .await;
    let first_bundle = bed.trusted().await;
    let first = shown(&server, &first_bundle, 0)
        .await
        .expect("a certificate that is accepted");
    assert!(
        shown(&server, &[], 0).await.is_none(),
        "nobody else is trusted"
    );
    assert!(accepts(&first_bundle, &first, 89 * DAY) && !accepts(&first_bundle, &first, 91 * DAY));

    // Two thirds of ninety days.
    let offset = 61 * DAY;
    bed.set_clock(offset);
    let second = renewed(&bed, &server, &first, offset).await;
    assert_eq!(bed.trusted().await, first_bundle, "the authority stays");
    assert!(
        accepts(&first_bundle, &first, offset),
        "the old one is good for a month more"
    );

    // Two thirds of ten years: the next authority is trusted, and signs nothing yet.
    let offset = 2440 * DAY;
    bed.set_clock(offset);
    eventually("two authorities are trusted", || async {
        bed.trusted().await.len() == 2
    })
    .await;
    let both = bed.trusted().await;
    let third = renewed(&bed, &server, &second, offset).await;
    assert!(
        accepts(&first_bundle, &third, offset),
        "the old authority signs"
    );

    // Days later it signs, and who trusts the bundle of before accepts it.
    let offset = 2444 * DAY;
    bed.set_clock(offset);
    let fourth = renewed(&bed, &server, &third, offset).await;
    assert!(
        !accepts(&first_bundle, &fourth, offset),
        "another authority signs"
    );
    assert!(accepts(&both, &fourth, offset));
    assert!(
        accepts(&bed.trusted().await, &third, offset),
        "what was shown before is trusted still"
    );

    assert!(server.is_running());
    assert_eq!(server.pid(), pid);
    assert_eq!(
        server
            .log()
            .matches("the server's certificate is loaded")
            .count(),
        4,
        "{}",
        server.log()
    );
}
