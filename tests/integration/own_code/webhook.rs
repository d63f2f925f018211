//! Rotation by calls over HTTPS, to a receiver that runs here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;
use crate::databases::address;
use crate::schedules::{ask, ready, schedule, status, wait_reason, wait_rotations};
use crate::support::{Bed, eventually_within};

const KEY: &[u8] = b"a-key-of-at-least-24-bytes";

/// A call: its headers and its body.
type Call = (HeaderMap, Vec<u8>);

/// What was called, and what is answered next; 200 when nothing is said.
#[derive(Clone, Default)]
struct Calls {
    seen: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Calls {
    fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    fn seen(&self) -> Vec<Call> {
        self.seen.lock().unwrap().clone()
    }

    /// The steps that were called, in order.
    fn steps(&self) -> Vec<String> {
        let seen = self.seen();
        let steps = seen.iter().map(|(_, body)| {
            let body: Value = serde_json::from_slice(body).unwrap();
            body["Step"].as_str().unwrap().to_owned()
        });
        steps.collect()
    }
}

async fn answer(State(calls): State<Calls>, headers: HeaderMap, body: Bytes) -> StatusCode {
    calls.seen.lock().unwrap().push((headers, body.to_vec()));
    let status = calls.answers.lock().unwrap().pop_front().unwrap_or(200);
    StatusCode::from_u16(status).unwrap()
}

/// A receiver with a certificate of its own authority; where it is, and what trusts it.
async fn receiver(calls: Calls) -> (SocketAddr, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, &authority_key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress(address())];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((address(), 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/rotate", post(answer))
        .with_state(calls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let service = TowerToHyperService::new(router);
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
            });
        }
    });
    (at, authority.pem())
}

fn strategy(url: &str, ca: &str) -> String {
    format!(
        "strategy: {{webhook: {{url: \"{url}\", caBundle: {}, signingSecretRef: {{name: signing}}}}}}",
        STANDARD.encode(ca)
    )
}

async fn secrets(bed: &Bed) {
    bed.namespace("shop").await;
    bed.create_native("shop", "signing-source", &[("signingKey", KEY)])
        .await;
    let signing = "{import: [{secretRef: {name: signing-source}}], target: {form: None}}";
    bed.apply_secret("shop", "signing", signing).await;
    bed.apply_secret("shop", "db", super::GENERATED).await;
    bed.wait_ready("shop", "signing").await;
    bed.wait_ready("shop", "db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_a_signed_call_without_a_value_and_the_status_says_what_came_of_it() {
    let bed = Bed::start().await;
    let calls = Calls::default();
    let (at, ca) = receiver(calls.clone()).await;
    let _operator = bed.operator().await;
    secrets(&bed).await;
    let first = bed.value("shop", "db", "apiKey").await;
    let url = format!("https://{at}/rotate");
    bed.apply(&schedule("db", "db", &strategy(&url, &ca))).await;
    wait_reason(&bed, "db", "Scheduled").await;
    // Once busy, and then the value is refused.
    calls.answer(&[200, 503, 200, 422]);
    ask(&bed, "db", "now").await;
    wait_rotations(&bed, "db", 1).await;
    assert_eq!(
        calls.steps(),
        [
            "createSecret",
            "setSecret",
            "setSecret",
            "testSecret",
            "createSecret",
            "setSecret",
            "testSecret",
            "finishSecret"
        ]
    );
    assert_ne!(bed.value("shop", "db", "apiKey").await, first);
    let mut tokens = Vec::new();
    for (headers, body) in calls.seen() {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
        let signed = [signed.as_bytes(), &body].concat();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, KEY);
        let tag = STANDARD.encode(aws_lc_rs::hmac::sign(&key, &signed));
        assert_eq!(header("webhook-signature"), format!("v1,{tag}"));
        let told: Value = serde_json::from_slice(&body).unwrap();
        let arn = told["SecretId"].as_str().unwrap();
        assert!(
            arn.starts_with("arn:aws:secretsmanager:") && arn.ends_with(":secret:db"),
            "{arn}"
        );
        assert_eq!(
            told.as_object().unwrap().len(),
            6,
            "no value is in it: {told}"
        );
        tokens.push(told["ClientRequestToken"].as_str().unwrap().to_owned());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 2, "one for each value");
    assert_eq!(status(&bed, "db").await.history[0].version, tokens[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_goes_to_the_machine_its_link_the_api_server_or_where_a_redirect_leads() {
    let bed = Bed::start().await;
    let calls = Calls::default();
    let (at, ca) = receiver(calls.clone()).await;
    let _operator = bed.operator().await;
    secrets(&bed).await;
    for (number, host) in [
        "127.0.0.1:6443",
        "169.254.169.254",
        "[::1]:443",
        "localhost:8443",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("db-{number}");
        bed.apply_secret("shop", &name, super::GENERATED).await;
        bed.wait_ready("shop", &name).await;
        let strategy = strategy(&format!("https://{host}/"), &ca);
        bed.apply(&schedule(&name, &name, &strategy)).await;
        wait_reason(&bed, &name, "Scheduled").await;
        ask(&bed, &name, "now").await;
        let refused = wait_reason(&bed, &name, "RotationRejected").await;
        assert!(
            refused.contains("none of which is called"),
            "{host}: {refused}"
        );
    }
    let url = format!("https://{at}/rotate");
    bed.apply(&schedule("db", "db", &strategy(&url, &ca))).await;
    wait_reason(&bed, "db", "Scheduled").await;
    calls.answer(&[307]);
    ask(&bed, "db", "now").await;
    let refused = wait_reason(&bed, "db", "RotationRejected").await;
    assert!(refused.contains("redirects are not followed"), "{refused}");
    wait_rotations(&bed, "db", 1).await;
    // Another authority than that of the receiver's certificate.
    let (_, other) = receiver(Calls::default()).await;
    bed.apply(&schedule("db", "db", &strategy(&url, &other)))
        .await;
    ask(&bed, "db", "again").await;
    eventually_within(
        PATIENCE,
        "it says that the certificate is not trusted",
        || async {
            ready(&bed, "db")
                .await
                .1
                .contains("is not signed by webhook.caBundle")
        },
    )
    .await;
    assert_eq!(calls.seen().len(), 5, "nothing was sent");
}
