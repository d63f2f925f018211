//! Certificates that an authority of another secret signs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keystead::audit::is_audit_line;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};

use crate::schedules::{ask, schedule, wait_reason, wait_rotations};
use crate::support::{Bed, Operator, Person, SOON, eventually, eventually_within, managed_secret};

const HOUR: i64 = 3600;

const CA: &str = "{generate: [{key: tls.crt, certificate: {commonName: root, isCA: true, durationDays: 3650}}], target: {form: None}}";

/// A server's certificate that lives a day, in a Secret of the type of TLS.
const LEAF: &str = "{generate: [{key: tls.crt, certificate: {dnsNames: [db.shop.svc], durationDays: 1, issuer: {secretRef: {name: ca}}}}], \
                    template: {type: kubernetes.io/tls}, target: {form: Plain}}";

/// Verifies what a client of that server would, some hours from now.
fn verify(data: &BTreeMap<String, Vec<u8>>, hours: i64) {
    let read = |key: &str| -> Vec<CertificateDer<'static>> {
        let all = CertificateDer::pem_slice_iter(&data[key]);
        all.collect::<Result<_, _>>().unwrap()
    };
    let (chain, mut roots) = (read("tls.crt"), RootCertStore::empty());
    for root in read("ca.crt") {
        roots.add(root).unwrap();
    }
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build();
    let name = ServerName::try_from("db.shop.svc").unwrap();
    let ahead = Duration::from_secs(u64::try_from(hours * HOUR).unwrap());
    let at = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + ahead);
    let verified = verifier
        .unwrap()
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], at);
    verified.unwrap();
}

/// The lines of the trail about authorities that were read for a certificate.
fn readings(operator: &Operator) -> Vec<Value> {
    let log = operator.log();
    let lines = log.lines().filter(|line| is_audit_line(line.as_bytes()));
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["userIdentity"]["via"] == "issuer")
        .collect()
}

async fn look_again(bed: &Bed, name: &str, mark: &str) {
    let look = json!({"metadata": {"annotations": {"look": mark}}});
    bed.patch("shop", &format!("managedsecret/{name}"), &look)
        .await;
}

async fn data(bed: &Bed) -> BTreeMap<String, Vec<u8>> {
    bed.data("shop", "db").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_signed_by_an_authority_of_another_secret_and_renewed_by_the_one_that_is_there_then()
 {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret("shop", "db", LEAF).await;
    let told = bed.wait_not_ready("shop", "db", "IssuerNotReady").await;
    assert!(
        told.contains("its issuer, ManagedSecret `ca`, cannot sign: it does not exist; apply it"),
        "{told}"
    );
    assert!(bed.native("shop", "db").await.is_none());

    // As soon as it is there, it signs.
    bed.apply_secret("shop", "ca", CA).await;
    bed.wait_ready("shop", "ca").await;
    eventually_within(SOON, "the certificate is made", || async {
        bed.native("shop", "db").await.is_some()
    })
    .await;
    bed.wait_ready("shop", "db").await;
    let first = data(&bed).await;
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        ["ca.crt", "tls.crt", "tls.key"]
    );
    verify(&first, 0);
    let read = readings(&operator);
    assert_eq!(read.len(), 1, "{read:?}");
    let about: Vec<_> = read[0]["resources"].as_array().unwrap().iter().collect();
    let name = |position: usize| about[position]["name"].as_str().unwrap();
    assert_eq!((name(1), name(2)), ("ca", "db"), "{about:?}");

    // Another authority changes nothing before the certificate is due, and is not read.
    let old = bed.versions("shop", "ca").await;
    let again = json!({"metadata": {"annotations": {"keystead.dev/regenerate": "1"}}});
    bed.patch("shop", "managedsecret/ca", &again).await;
    eventually("there is another authority", || async {
        bed.versions("shop", "ca").await.len() > old.len()
    })
    .await;
    look_again(&bed, "db", "1").await;
    tokio::time::sleep(SOON).await;
    assert_eq!(data(&bed).await, first);
    assert_eq!(readings(&operator).len(), 1);

    // When it is due, the one that is there signs the next.
    operator.kill().await;
    bed.set_clock(17 * HOUR);
    let operator = bed.operator().await;
    eventually("it is made anew", || async { data(&bed).await != first }).await;
    bed.wait_ready("shop", "db").await;
    let second = data(&bed).await;
    assert_ne!(second["ca.crt"], first["ca.crt"]);
    verify(&second, 17);
    assert_eq!(bed.versions("shop", "db").await.len(), 2);

    // Without an authority the last one stays, until there is one again.
    bed.kubectl(&["delete", "managedsecret", "ca", "-n", "shop"])
        .await
        .expect_ok();
    operator.kill().await;
    bed.set_clock(34 * HOUR);
    let operator = bed.operator().await;
    let told = bed.wait_not_ready("shop", "db", "IssuerNotReady").await;
    assert!(told.contains("The one that is delivered stays"), "{told}");
    assert_eq!(data(&bed).await, second);
    bed.apply_secret("shop", "ca", CA).await;
    eventually_within(SOON * 2, "it is made anew", || async {
        data(&bed).await != second
    })
    .await;
    bed.wait_ready("shop", "db").await;
    verify(&data(&bed).await, 34);
    assert_eq!(readings(&operator).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_sign_is_told_and_nobody_waits_in_a_circle() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    let secret = |name: &str, certificate: &str| {
        let spec = format!(
            "{{generate: [{{key: tls.crt, certificate: {certificate}}}], target: {{form: None}}}}"
        );
        managed_secret("shop", name, &spec)
    };
    let below = |name: &str, issuer: &str| {
        let issuer = format!("issuer: {{secretRef: {{name: {issuer}}}}}");
        secret(
            name,
            &format!("{{commonName: {name}, isCA: true, {issuer}}}"),
        )
    };
    for (issuer, expected) in [
        ("{}", "exactly one of key and secretRef must be set"),
        (
            "{key: a, secretRef: {name: b}}",
            "exactly one of key and secretRef must be set",
        ),
        (
            "{secretRef: {name: self}}",
            "issuer.secretRef names this very secret",
        ),
        ("{secretRef: {name: A}}", "issuer.secretRef.name"),
        ("{secretRef: {name: a, namespace: bank}}", "unknown field"),
    ] {
        let yaml = secret("self", &format!("{{commonName: x, issuer: {issuer}}}"));
        let printed = bed.kubectl_with(&["apply", "-f", "-"], &yaml).await;
        let told = printed.expect_refused();
        assert!(told.contains(expected), "{told}");
    }

    bed.apply(&[below("one", "two"), below("two", "one")].concat())
        .await;
    for name in ["one", "two"] {
        let told = bed.wait_not_ready("shop", name, "IssuerNotReady").await;
        assert!(told.contains("nothing is stored of it yet"), "{told}");
    }
    bed.apply(&secret("two", "{commonName: two, isCA: true}"))
        .await;
    bed.wait_ready("shop", "two").await;
    bed.wait_ready("shop", "one").await;
    // Made once, each of them: a circle of what is there already turns no wheel.
    bed.apply(&below("two", "one")).await;
    bed.wait_ready("shop", "two").await;
    let state = || async {
        let mut sequences = Vec::new();
        for name in ["one", "two"] {
            let status = bed.managed("shop", name).await.status.unwrap();
            sequences.push(status.sequence);
        }
        sequences
    };
    let before = state().await;
    look_again(&bed, "one", "1").await;
    tokio::time::sleep(SOON).await;
    assert_eq!(state().await, before);

    bed.apply(&managed_secret(
        "shop",
        "none",
        "{literals: {tls.crt: C4N4RY}, target: {form: None}}",
    ))
    .await;
    bed.wait_ready("shop", "none").await;
    bed.apply(&below("three", "none")).await;
    let told = bed.wait_not_ready("shop", "three", "IssuerNotReady").await;
    assert!(
        told.contains("it has no key `tls.key`") && !told.contains("C4N4RY"),
        "{told}"
    );

    bed.apply(include_str!("../../examples/authority.yaml"))
        .await;
    bed.wait_ready("shop", "shop-web").await;
    let made = bed.native("shop", "shop-web").await.unwrap();
    assert_eq!(made.type_.as_deref(), Some("kubernetes.io/tls"));
    assert!(bed.native("shop", "shop-ca").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_needs_the_right_to_the_value_of_each_issuer_that_is_new() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let ann = Person::new(&bed, "ann");
    let author = "[{apiGroups: [keystead.dev], resources: [managedsecrets], verbs: [get, list, create, update, patch]}]";
    ann.grant("shop", "author", author).await;
    ann.can(&["create", "managedsecrets", "-n", "shop"]).await;
    bed.policies_in_force().await;
    let signed = |keys: &[(&str, &str)]| {
        let entry = |(key, issuer): &(&str, &str)| {
            format!(
                "{{key: {key}, certificate: {{commonName: x, issuer: {{secretRef: {{name: {issuer}}}}}}}}}"
            )
        };
        let entries: Vec<_> = keys.iter().map(entry).collect();
        let spec = format!(
            "{{generate: [{}], target: {{form: None}}}}",
            entries.join(", ")
        );
        managed_secret("shop", "db", &spec)
    };
    let may_read = |name: &str| {
        format!(
            "[{{apiGroups: [keystead.dev], resources: [managedsecrets/value], verbs: [get], resourceNames: [{name}]}}]"
        )
    };
    let needs = |name: &str| {
        format!(
            "spec.generate with issuer.secretRef needs get on managedsecrets/value for ManagedSecret shop/{name}: ask for a Role"
        )
    };
    let told = ann.refused(&signed(&[("a.crt", "ca")])).await;
    assert!(told.contains(&needs("ca")), "{told}");
    ann.grant("shop", "ca", &may_read("ca")).await;
    ann.allowed(&signed(&[("a.crt", "ca")])).await;
    let told = ann
        .refused(&signed(&[("a.crt", "ca"), ("b.crt", "other")]))
        .await;
    assert!(
        told.contains(&needs("other")) && !told.contains(&needs("ca")),
        "{told}"
    );

    // What an administrator named is not asked again, and what is taken out never.
    let both = [("a.crt", "ca"), ("b.crt", "other")];
    bed.apply(&signed(&both)).await;
    let more = [both[0], both[1], ("c.crt", "other")];
    ann.apply(&signed(&more)).await.expect_ok();
    ann.apply(&signed(&both[..1])).await.expect_ok();

    // More than one request may ask for.
    let keys: Vec<_> = (0..17)
        .map(|i| (format!("k{i}"), format!("ca{i}")))
        .collect();
    let keys: Vec<_> = keys
        .iter()
        .map(|(key, name)| (key.as_str(), name.as_str()))
        .collect();
    let told = bed
        .kubectl_with(&["apply", "-f", "-"], &signed(&keys))
        .await
        .expect_refused();
    assert!(told.contains("at most 16 certificates"), "{told}");
    let printed = bed
        .kubectl_with(&["apply", "-f", "-"], &signed(&keys[..16]))
        .await;
    printed.expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_has_a_certificate_issued_anew_with_another_key() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret("shop", "ca", CA).await;
    bed.wait_ready("shop", "ca").await;
    bed.apply_secret("shop", "db", LEAF).await;
    bed.wait_ready("shop", "db").await;
    let first = data(&bed).await;
    let strategy = "strategy: {regenerate: {}}";
    bed.apply(&schedule("db", "db", strategy)).await;
    wait_reason(&bed, "db", "Scheduled").await;
    ask(&bed, "db", "now").await;
    wait_rotations(&bed, "db", 1).await;
    eventually("the new certificate is delivered", || async {
        data(&bed).await != first
    })
    .await;
    let second = data(&bed).await;
    verify(&second, 0);
    assert_ne!(second["tls.key"], first["tls.key"]);
    assert_ne!(second["tls.crt"], first["tls.crt"]);
    assert_eq!(second["ca.crt"], first["ca.crt"], "the authority stays");
}
