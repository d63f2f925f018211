//! Where the keys of a secret come from, and that none of them changes unless somebody asked.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Bed, SOON, eventually_within};

/// Every generator once, and a literal.
const GENERATED: &str = r#"{
  generate: [
    {key: password, password: {length: 20, classes: [Lowercase, Digits], exclude: "abc0"}},
    {key: raw, bytes: {length: 16}},
    {key: base64, bytes: {length: 16, encoding: Base64}},
    {key: base64url, bytes: {length: 16, encoding: Base64Url}},
    {key: base32, bytes: {length: 16, encoding: Base32}},
    {key: hexadecimal, bytes: {length: 16, encoding: Hex}},
    {key: hex, hex: {length: 8}},
    {key: uuid, uuid: {}}EXTRA],
  literals: {username: orders},
  target: {form: Plain}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn generated_values_have_their_form_and_never_change_by_edits_of_anything_else() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret("shop", "all", &GENERATED.replace("EXTRA", ""))
        .await;
    bed.wait_ready("shop", "all").await;
    let first = bed.data("shop", "all").await.unwrap();
    check_forms(&first);

    // A key that is added later is generated; all others stay byte for byte.
    let more = GENERATED.replace("EXTRA", ", {key: later, password: {}}");
    bed.apply_secret("shop", "all", &more).await;
    bed.wait_ready("shop", "all").await;
    let mut second = bed.data("shop", "all").await.unwrap();
    assert_eq!(second.remove("later").map(|later| later.len()), Some(32));
    assert_eq!(second, first);
    assert_eq!(bed.versions("shop", "all").await.len(), 2);

    // Another policy for a key that is there changes nothing, a literal changes alone.
    let edited = GENERATED
        .replace("EXTRA", "")
        .replace("length: 20", "length: 64")
        .replace("username: orders", "username: billing");
    bed.apply_secret("shop", "all", &edited).await;
    bed.wait_ready("shop", "all").await;
    let mut third = bed.data("shop", "all").await.unwrap();
    assert_eq!(
        third.insert("username".into(), b"orders".to_vec()).unwrap(),
        b"billing"
    );
    assert_eq!(third, first);

    // A key that is removed is gone from the target, and the others stay, also over a restart.
    let patch = json!({"spec": {"literals": {"username": null, "port": "5432"}}});
    operator.kill().await;
    bed.patch("shop", "managedsecret/all", &patch).await;
    let _operator = bed.operator().await;
    bed.wait_ready("shop", "all").await;
    let mut fourth = bed.data("shop", "all").await.unwrap();
    assert_eq!(fourth.remove("port").unwrap(), b"5432");
    assert_eq!(fourth.insert("username".into(), b"orders".to_vec()), None);
    assert_eq!(fourth, first);
    assert_eq!(bed.events("shop", "all", "DriftRepaired").await, 0);

    a_template_renders_anew_and_generates_nothing(&bed).await;
}

fn check_forms(data: &BTreeMap<String, Vec<u8>>) {
    let text = |key: &str| String::from_utf8(data[key].clone()).unwrap();
    let only = |key: &str, allowed: &dyn Fn(char) -> bool| {
        assert!(text(key).chars().all(allowed), "{key}");
    };
    let lengths = [
        ("password", 20),
        ("raw", 16),
        ("base64", 24),
        ("base64url", 22),
        ("base32", 32),
        ("hexadecimal", 32),
        ("hex", 16),
        ("uuid", 36),
        ("username", 6),
    ];
    let found: Vec<_> = lengths
        .iter()
        .map(|(key, _)| (*key, data[*key].len()))
        .collect();
    assert_eq!(found, lengths);
    assert_eq!(data.len(), lengths.len());
    only("password", &|c| {
        (c.is_ascii_lowercase() || c.is_ascii_digit()) && !"abc0".contains(c)
    });
    only("base64url", &|c| {
        c.is_ascii_alphanumeric() || c == '-' || c == '_'
    });
    only("base32", &|c| {
        c.is_ascii_uppercase() || ('2'..='7').contains(&c) || c == '='
    });
    only("hexadecimal", &|c| matches!(c, '0'..='9' | 'a'..='f'));
    only("hex", &|c| matches!(c, '0'..='9' | 'a'..='f'));
    assert!(text("base64").ends_with("==") && text("base32").ends_with("======"));
    assert_eq!(text("uuid").as_bytes()[14], b'4');
}

/// Also case B04 (4), and case B06 (2) and (3): what cannot be rendered leaves the last good Secret as it is.
async fn a_template_renders_anew_and_generates_nothing(bed: &Bed) {
    let spec = |template: &str, literals: &str| {
        format!(
            "{{generate: [{{key: password, password: {{}}}}], literals: {literals}, \
             template: {{data: {{{template}}}}}, target: {{form: Plain}}}}"
        )
    };
    let good = r#"URL: "db://[[ user ]]:[[ password ]]@db""#;
    bed.apply_secret("shop", "url", &spec(good, "{user: a}"))
        .await;
    bed.wait_ready("shop", "url").await;
    let url = bed.value("shop", "url", "URL").await;
    let password = String::from_utf8(url).unwrap()["db://a:".len()..][..32].to_owned();
    let versions = bed.versions("shop", "url").await;

    let other = r#"DSN: "[[ password ]]@[[ user ]]""#;
    bed.apply_secret("shop", "url", &spec(other, "{user: a}"))
        .await;
    let rendered = format!("{password}@a");
    bed.wait_value("shop", "url", "DSN", rendered.as_bytes())
        .await;
    bed.wait_ready("shop", "url").await;
    assert_eq!(
        bed.data("shop", "url").await.unwrap().len(),
        1,
        "the key of before is gone"
    );
    assert_eq!(
        bed.versions("shop", "url").await,
        versions,
        "the value is the same"
    );

    let state = bed.state_of("shop", "url").await;
    let broken = r#"DSN: "[[ password ]]", BAD: "line one\n[[ nosuchkey ]]""#;
    bed.apply_secret("shop", "url", &spec(broken, "{user: b}"))
        .await;
    let message = bed.wait_not_ready("shop", "url", "TemplateFailed").await;
    assert!(
        message.contains("BAD") && message.contains("nosuchkey"),
        "{message}"
    );
    assert!(message.contains("line 2"), "the line is named: {message}");
    assert!(!message.contains(&password), "no value in a message");
    assert_eq!(
        bed.state_of("shop", "url").await,
        state,
        "the last good Secret is untouched"
    );
    assert_eq!(
        bed.versions("shop", "url").await,
        versions,
        "all or nothing: no new version either"
    );

    bed.apply_secret("shop", "url", &spec(other, "{user: b}"))
        .await;
    bed.wait_value("shop", "url", "DSN", format!("{password}@b").as_bytes())
        .await;
    bed.wait_ready("shop", "url").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_happens_once_and_again_only_when_asked() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    let all = "{import: [{secretRef: {name: legacy}}], target: {form: Plain}}";
    bed.apply_secret("shop", "app", all).await;
    let message = bed
        .wait_not_ready("shop", "app", "ImportSourceMissing")
        .await;
    assert!(message.contains("legacy"), "{message}");
    assert!(bed.native("shop", "app").await.is_none());

    // It appears, and is taken within seconds.
    bed.create_native("shop", "legacy", &[("user", b"u1"), ("pass", b"p1")])
        .await;
    bed.wait_value("shop", "app", "pass", b"p1").await;
    bed.wait_ready("shop", "app").await;
    let versions = bed.versions("shop", "app").await;

    // The source changes, goes, and comes back as another: nothing of that is taken.
    let changed = json!({"stringData": {"pass": "p2", "more": "m2"}});
    bed.patch("shop", "secret/legacy", &changed).await;
    bed.delete("shop", "secret/legacy").await;
    let uid = bed
        .create_native("shop", "legacy", &[("user", b"u3"), ("pass", b"p3")])
        .await;
    // An edit makes the operator look at everything once more.
    let edit = json!({"spec": {"literals": {"extra": "x"}}});
    bed.patch("shop", "managedsecret/app", &edit).await;
    bed.wait_value("shop", "app", "extra", b"x").await;
    bed.wait_ready("shop", "app").await;
    let expected = [("extra", &b"x"[..]), ("pass", b"p1"), ("user", b"u1")];
    assert_eq!(bed.data("shop", "app").await.unwrap(), map(&expected));
    assert_eq!(bed.versions("shop", "app").await.len(), versions.len() + 1);

    // Its UID in the annotation asks for it; that is no drift.
    let annotate = |uid: &str| json!({"metadata": {"annotations": {"keystead.dev/import": uid}}});
    bed.patch("shop", "managedsecret/app", &annotate("not-a-uid"))
        .await;
    bed.patch("shop", "managedsecret/app", &annotate(&uid))
        .await;
    bed.wait_value("shop", "app", "pass", b"p3").await;
    assert_eq!(bed.value("shop", "app", "user").await, b"u3");
    assert_eq!(bed.events("shop", "app", "DriftRepaired").await, 0);

    a_source_may_be_the_target_of_another_secret(&bed).await;
    some_keys_are_imported_and_more_later(&bed).await;
    what_is_imported_is_deleted_when_asked_and_only_that(&bed).await;
    what_cannot_be_imported_is_refused(&bed).await;
}

async fn a_source_may_be_the_target_of_another_secret(bed: &Bed) {
    let spec = "{import: [{secretRef: {name: made}}], target: {form: Plain}}";
    bed.apply_secret("shop", "waits", spec).await;
    bed.wait_not_ready("shop", "waits", "ImportSourceMissing")
        .await;
    let spec = "{literals: {k: v}, target: {form: Plain}}";
    bed.apply_secret("shop", "made", spec).await;
    bed.wait_value("shop", "waits", "k", b"v").await;
}

async fn some_keys_are_imported_and_more_later(bed: &Bed) {
    let spec = |keys: &str| {
        format!(
            "{{import: [{{secretRef: {{name: three, keys: [{keys}]}}}}], target: {{form: Plain}}}}"
        )
    };
    bed.create_native("shop", "three", &[("a", b"1"), ("b", b"2"), ("c", b"3")])
        .await;
    bed.apply_secret("shop", "some", &spec("a, missing")).await;
    let message = bed
        .wait_not_ready("shop", "some", "ImportSourceMissing")
        .await;
    assert!(
        message.contains("three") && message.contains("missing"),
        "{message}"
    );
    bed.apply_secret("shop", "some", &spec("a, b")).await;
    bed.wait_ready("shop", "some").await;
    assert_eq!(
        bed.data("shop", "some").await.unwrap(),
        map(&[("a", b"1"), ("b", b"2")])
    );
    let changed = json!({"stringData": {"a": "changed", "c": "3"}});
    bed.patch("shop", "secret/three", &changed).await;
    bed.apply_secret("shop", "some", &spec("a, c")).await;
    bed.wait_ready("shop", "some").await;
    assert_eq!(
        bed.data("shop", "some").await.unwrap(),
        map(&[("a", b"1"), ("c", b"3")])
    );
    // A key that was given up and is wanted once more is read once more: nobody holds its old value any longer.
    bed.apply_secret("shop", "some", &spec("a, b, c")).await;
    bed.wait_ready("shop", "some").await;
    let all = map(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
    assert_eq!(bed.data("shop", "some").await.unwrap(), all);
}

async fn what_is_imported_is_deleted_when_asked_and_only_that(bed: &Bed) {
    let spec = |name: &str| {
        format!(
            "{{import: [{{secretRef: {{name: {name}}}, deleteAfterImport: true}}], target: {{form: Plain}}}}"
        )
    };
    bed.create_native("shop", "once", &[("k", b"v")]).await;
    bed.apply_secret("shop", "taken", &spec("once")).await;
    bed.wait_ready("shop", "taken").await;
    bed.wait_gone("shop", "once").await;
    assert_eq!(bed.value("shop", "taken", "k").await, b"v");
    // Another of the same name is not the one that was imported.
    let uid = bed.create_native("shop", "once", &[("k", b"v")]).await;
    let edit = json!({"spec": {"literals": {"extra": "x"}}});
    bed.patch("shop", "managedsecret/taken", &edit).await;
    bed.wait_ready("shop", "taken").await;
    let kept = bed
        .native("shop", "once")
        .await
        .expect("the other one stays");
    assert_eq!(kept.metadata.uid.as_deref(), Some(uid.as_str()));

    // One that was changed since it was imported stays, and the condition says so.
    bed.create_native("shop", "moved", &[("k", b"v")]).await;
    let first = "{import: [{secretRef: {name: moved}}], target: {form: Plain}}";
    bed.apply_secret("shop", "careful", first).await;
    bed.wait_ready("shop", "careful").await;
    bed.patch(
        "shop",
        "secret/moved",
        &json!({"stringData": {"k": "newer"}}),
    )
    .await;
    bed.apply_secret("shop", "careful", &spec("moved")).await;
    eventually_within(SOON, "the condition says why the source stays", || async {
        let status = bed.managed("shop", "careful").await.status.unwrap();
        status.conditions[0]
            .message
            .contains("moved holds what is not stored")
    })
    .await;
    assert_eq!(bed.value("shop", "moved", "k").await, b"newer");
    assert_eq!(bed.value("shop", "careful", "k").await, b"v");
}

async fn what_cannot_be_imported_is_refused(bed: &Bed) {
    let big = vec![7_u8; 300 * 1024];
    bed.create_native("shop", "big", &[("blob", &big)]).await;
    let spec = "{import: [{secretRef: {name: big}}], target: {form: Plain}}";
    bed.apply_secret("shop", "huge", spec).await;
    let message = bed.wait_not_ready("shop", "huge", "ValueTooLarge").await;
    assert!(
        message.contains("262144") || message.contains("262,144"),
        "{message}"
    );
    assert!(
        bed.native("shop", "huge").await.is_none(),
        "nothing is delivered"
    );
    assert!(
        bed.versions("shop", "huge").await.is_empty(),
        "nothing is stored"
    );
    let truth = keystead::truth::truth_name("shop", "huge");
    assert!(bed.native(crate::support::SYSTEM, &truth).await.is_none());

    bed.create_native("shop", "one", &[("password", b"x")])
        .await;
    let spec = "{import: [{secretRef: {name: one}}], generate: [{key: password, password: {}}]}";
    bed.apply_secret("shop", "twice", spec).await;
    let message = bed.wait_not_ready("shop", "twice", "DuplicateKey").await;
    assert!(
        message.contains("password") && message.contains("one"),
        "{message}"
    );
}

fn map(entries: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    entries
        .iter()
        .map(|(key, bytes)| ((*key).to_owned(), bytes.to_vec()))
        .collect()
}

/// Case B23, as far as import, plaintext targets, sealed targets and templates go.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_out_as_they_went_in() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    let every_byte: Vec<u8> = (0..4 * 256_u32).map(|i| i.to_le_bytes()[0]).collect();
    let awkward: [(&str, &[u8]); 12] = [
        ("every-byte", &every_byte),
        (
            "cacerts.jks",
            &[0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0x80, 0xFF],
        ),
        ("empty", b""),
        ("newline", b"\n"),
        ("unix", b"pw\n"),
        ("windows", b"pw\r\n"),
        ("bom", b"\xEF\xBB\xBFpw"),
        ("nul", b"a\0b\0"),
        ("like-base64", b"aGVsbG8="),
        ("like-json", br#"{"a":1}"#),
        ("emoji", "🔑".as_bytes()),
        ("a.b", b"dotted"),
    ];
    bed.create_native("shop", "source", &awkward).await;
    let spec = "{import: [{secretRef: {name: source}}], target: {form: Plain}}";
    bed.apply_secret("shop", "plain", spec).await;
    bed.wait_ready("shop", "plain").await;
    assert_eq!(bed.data("shop", "plain").await.unwrap(), map(&awkward));

    // Through a sealed target: changed to Plain afterwards, it is opened from the truth that was stored meanwhile.
    let spec = "{import: [{secretRef: {name: source}}]}";
    bed.apply_secret("shop", "sealed", spec).await;
    bed.wait_ready("shop", "sealed").await;
    let sealed = bed.data("shop", "sealed").await.unwrap();
    assert_eq!(sealed.len(), awkward.len());
    for (key, bytes) in &awkward {
        let envelope = &sealed[&format!("{key}.sealed")];
        assert!(keystead::crypto::peek(envelope).is_ok(), "{key}");
        let inside = !bytes.is_empty() && bytes.len() > 4;
        let visible = envelope
            .windows(bytes.len().max(1))
            .any(|window| window == *bytes);
        assert!(!inside || !visible, "{key} is not readable");
    }
    bed.delete("shop", "secret/source").await;
    let plain = json!({"spec": {"target": {"form": "Plain"}}});
    bed.patch("shop", "managedsecret/sealed", &plain).await;
    bed.wait_ready("shop", "sealed").await;
    assert_eq!(bed.data("shop", "sealed").await.unwrap(), map(&awkward));

    // Through a template: texts come out byte for byte; bytes that are no text pass encoded.
    let spec = r#"{import: [{secretRef: {name: texts}}], target: {form: Plain},
      template: {data: {unix: "[[ unix ]]", windows: "[[ windows ]]", emoji: "[[ emoji ]]", dotted: '[[ keys["a.b"] ]]',
        json: "[[ json ]]", around: "\n[[ unix ]]\r\n", bytes: "[[ bytes | b64encode ]]"}}}"#;
    let texts: [(&str, &[u8]); 6] = [
        ("unix", b"pw\n"),
        ("windows", b"pw\r\n"),
        ("emoji", "🔑".as_bytes()),
        ("a.b", b"dotted"),
        ("json", br#"{"a":1}"#),
        ("bytes", &[0, 255, 128]),
    ];
    bed.create_native("shop", "texts", &texts).await;
    bed.apply_secret("shop", "rendered", spec).await;
    bed.wait_ready("shop", "rendered").await;
    let expected: [(&str, &[u8]); 7] = [
        ("unix", b"pw\n"),
        ("windows", b"pw\r\n"),
        ("emoji", "🔑".as_bytes()),
        ("dotted", b"dotted"),
        ("json", br#"{"a":1}"#),
        ("around", b"\npw\n\r\n"),
        ("bytes", b"AP+A"),
    ];
    assert_eq!(bed.data("shop", "rendered").await.unwrap(), map(&expected));
}
