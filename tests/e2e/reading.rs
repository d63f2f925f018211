//! Reading by the API on a real node: a pod's own token, from kubelet, and the server behind its Service.

use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::bed::{Bed, Namespace, SYSTEM, Turn, text};
use crate::tools::{TIMEOUT, eventually};

const NAMESPACE: &str = "e2e-reading";

/// A secret, two service accounts of which one may read it, and a pod of each with a token for the API.
fn manifests(image: &str) -> String {
    let pod = |account: &str| {
        format!(
            "---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}, namespace: {NAMESPACE}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {account}, namespace: {NAMESPACE}}}
spec:
  serviceAccountName: {account}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: app
    image: {image}
    command: [sleep, '3600']
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: keystead, mountPath: /var/run/secrets/keystead}}]
  volumes:
  - name: keystead
    projected: {{sources: [{{serviceAccountToken: {{audience: keystead.dev, path: token, expirationSeconds: 3600}}}}]}}
"
        )
    };
    format!(
        "apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: db, namespace: {NAMESPACE}}}
spec:
  generate: [{{key: value, password: {{length: 40}}}}]
  policy:
    statements:
    - {{sid: orders, effect: Allow, principals: {{serviceAccounts: [{{namespace: {NAMESPACE}, name: orders}}]}}, actions: [GetSecretValue]}}
{}{}",
        pod("orders"),
        pod("stranger")
    )
}

/// Calls the API by the address of its Service, as the certificate names it.
fn call(bed: &Bed, token: &str, target: &str, body: &Value) -> (u16, Value) {
    let service = bed.get(SYSTEM, "service/keystead-server");
    let address = text(&service["spec"]["clusterIP"]);
    let authority = bed.data(SYSTEM, "keystead-server-tls").remove("ca.crt");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authority.expect("the authority is there")) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(format!("keystead-server.{SYSTEM}.svc")).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("TLS");
    let stream = TcpStream::connect((address, 8443)).expect("the Service listens");
    let mut stream = StreamOwned::new(connection, stream);
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: keystead-server\r\nConnection: close\r\nX-Amz-Target: {target}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    // A connection that is closed without a notice has said everything all the same.
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).expect("a status");
    let body = serde_json::from_str(body).expect("JSON");
    (status.parse().expect("a number"), body)
}

#[test]
fn a_pod_reads_by_its_own_token_what_the_policy_lets_it_and_nothing_by_any_other() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let bed = Turn::take();
    let _namespace = Namespace::create(&bed, NAMESPACE);
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    bed.tools
        .kubectl(["label", "namespace", NAMESPACE, restricted]);
    bed.apply(&manifests(bed.target.busybox()));
    bed.all_ready(NAMESPACE);
    let ready = "--for=condition=Ready";
    bed.tools
        .kubectl(["-n", NAMESPACE, "wait", "pods", "--all", ready, TIMEOUT]);
    let token = |pod: &str| {
        let path = "/var/run/secrets/keystead/token";
        let args = ["-n", NAMESPACE, "exec", pod, "--", "cat", path];
        bed.tools.kubectl(args).trim().to_owned()
    };
    let (orders, stranger) = (token("orders"), token("stranger"));
    let asked = json!({"SecretId": "db"});
    let get = |token: &str| call(&bed, token, "secretsmanager.GetSecretValue", &asked);
    let (status, read) = get(&orders);
    assert_eq!(status, 200, "{read}");
    let value = text(&read["SecretString"]);
    assert_eq!(value.len(), 40);

    // It is the value that is delivered, too.
    let target = |form: &str| {
        let target = format!("{{\"spec\":{{\"target\":{{\"form\":\"{form}\"}}}}}}");
        let args = [
            "-n",
            NAMESPACE,
            "patch",
            "managedsecret/db",
            "--type=merge",
            "-p",
            &target,
        ];
        bed.tools.kubectl(args);
    };
    target("Plain");
    eventually("the value is delivered", || {
        let path = "jsonpath={.data.value}";
        let get = ["-n", NAMESPACE, "get", "secret", "db", "-o", path];
        let delivered = bed.tools.try_kubectl(get).ok()?;
        (delivered == BASE64.encode(&value)).then_some(())
    });

    let (status, refused) = get(&stranger);
    assert_eq!(
        (status, text(&refused["__type"]).as_str()),
        (400, "AccessDeniedException")
    );
    assert!(!refused.to_string().contains(&value));

    // A token ends with its pod.
    bed.tools
        .kubectl(["-n", NAMESPACE, "delete", "pod", "orders", "--now"]);
    eventually("the token is not taken any more", || {
        let (status, answer) = get(&orders);
        (status != 200 && answer["__type"] == "UnrecognizedClientException").then_some(())
    });
    let logs = bed.tools.kubectl([
        "-n",
        SYSTEM,
        "logs",
        "--selector=app.kubernetes.io/component=server",
        "--tail=-1",
    ]);
    assert!(!logs.contains(&value), "the value is in no log");
    let lines = logs
        .lines()
        .filter(|line| line.contains("\"eventName\":\"GetSecretValue\""));
    let by = |user: &str, decision: &str| {
        let lines = lines.clone();
        lines
            .filter(|line| {
                line.contains(&format!("{NAMESPACE}:{user}\"")) && line.contains(decision)
            })
            .count()
    };
    assert!(by("orders", "\"decision\":\"Allow\"") >= 1, "{logs}");
    assert!(by("stranger", "\"decision\":\"Deny\"") >= 1, "{logs}");
}
