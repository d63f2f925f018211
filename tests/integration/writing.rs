//! Changing the value of a secret by a call of the API: who may, what the spec leaves of it, and what is written down. Tokens, pods and
//! rights are those of a real API server.

mod guarded;
mod interrupted;
mod rotating;

use std::ops::Deref;

use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{Answer, Calls, Person, Served, eventually, key};

/// What is put. As a text no log has it by chance.
const CANARY: &str = "canary of a password that is put";

const DENIED: &str = "AccessDeniedException";
const INVALID: &str = "InvalidParameterException";
const NOT_NOW: &str = "InvalidRequestException";
const EXISTS: &str = "ResourceExistsException";

/// Ids of versions, as callers choose them.
fn version(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A control plane with a namespace, whose API is called.
struct World(Served);

impl Deref for World {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl World {
    async fn start() -> Self {
        Self(Served::start(&[("shop", "web"), ("shop", "writer")]).await)
    }

    async fn secret(&self, name: &str, spec: &str) {
        self.bed.apply_secret("shop", name, spec).await;
        self.bed.wait_ready("shop", name).await;
    }

    /// Calls as somebody who may read and put the values of all secrets of `shop`.
    async fn writer(&self) -> Calls {
        let rule = "[{apiGroups: [keystead.dev], resources: [managedsecrets/value, managedsecrets], verbs: [get, put]}]";
        let person = Person::new(&self.bed, "system:serviceaccount:shop:writer");
        person.grant("shop", "writes", rule).await;
        let question = ["put", "managedsecrets", "--subresource=value", "-n", "shop"];
        person.can(&question).await;
        self.calls("shop", "writer").await
    }

    /// The lines about changes by that service account.
    fn changes(&self, account: &str) -> Vec<Value> {
        let user = format!("system:serviceaccount:shop:{account}");
        let mut lines = self.lines();
        lines.retain(|line| {
            let is_change = ["PutSecretValue", "UpdateSecretVersionStage"]
                .iter()
                .any(|name| line["eventName"] == *name);
            is_change && line["userIdentity"]["user"] == user
        });
        lines
    }
}

/// `PutSecretValue` of a text.
async fn put(calls: &Calls, secret: &str, token: &str, text: &str) -> Answer {
    let asked = json!({"SecretId": secret, "ClientRequestToken": token, "SecretString": text});
    calls.call("secretsmanager.PutSecretValue", &asked).await
}

/// `UpdateSecretVersionStage` of what is current.
async fn make_current(calls: &Calls, secret: &str, to: &str, from: &str) -> Answer {
    let asked = json!({"SecretId": secret, "VersionStage": "AWSCURRENT", "MoveToVersionId": to, "RemoveFromVersionId": from});
    calls
        .call("secretsmanager.UpdateSecretVersionStage", &asked)
        .await
}

async fn text(calls: &Calls, secret: &str) -> String {
    let read = calls.value(secret).await.ok();
    read["SecretString"].as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(answer: &Answer, error: &str) -> String {
    assert_eq!(answer.error(), error, "{answer:?}");
    answer.body["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_read_back_byte_for_byte_and_delivered() {
    let world = World::start().await;
    let spec = "{stored: {}, literals: {host: db}, target: {form: Plain}}";
    world.secret("db", spec).await;
    let writer = world.writer().await;
    let first = world.bed.versions("shop", "db").await.remove(0).0;

    let whole = format!("{{ \"host\":\"db\",\n \"password\" : \"{CANARY}\", \"port\": 5432.0 }}");
    let done = put(&writer, "db", &version(1), &whole).await.ok();
    assert_eq!(done["Name"], "db");
    assert_eq!(done["VersionId"], version(1));
    assert_eq!(done["VersionStages"], json!(["AWSCURRENT"]));
    assert!(done["ARN"].as_str().unwrap().ends_with(":secret:db"));
    assert_eq!(text(&writer, "db").await, whole, "at once, as it was put");
    let bed = &world.bed;
    bed.wait_value("shop", "db", "password", CANARY.as_bytes())
        .await;
    assert_eq!(bed.value("shop", "db", "port").await, b"5432.0");
    let keys = bed.data("shop", "db").await.unwrap();
    assert_eq!(
        keys.keys().collect::<Vec<_>>(),
        ["host", "password", "port"]
    );

    // The same once more is done already, also when another value is current.
    let again = put(&writer, "db", &version(1), &whole).await.ok();
    assert_eq!(again, done);
    let other = put(&writer, "db", &version(1), "{\"password\":\"other\"}").await;
    assert!(refused(&other, EXISTS).contains("ClientRequestToken"));
    put(&writer, "db", &version(2), "{\"password\":\"second\"}")
        .await
        .ok();
    let stages = put(&writer, "db", &version(1), &whole).await.ok();
    assert_eq!(stages["VersionStages"], json!(["AWSPREVIOUS"]));
    let read: Value = serde_json::from_str(&text(&writer, "db").await).unwrap();
    assert_eq!(read, json!({"host": "db", "password": "second"}));
    bed.wait_value("shop", "db", "password", b"second").await;
    eventually("the key that was left out is gone", || async {
        !bed.data("shop", "db").await.unwrap().contains_key("port")
    })
    .await;

    // Back and forth, and to a version that the spec would change.
    make_current(&writer, "db", &version(1), &version(2))
        .await
        .ok();
    assert_eq!(text(&writer, "db").await, whole);
    bed.wait_value("shop", "db", "password", CANARY.as_bytes())
        .await;
    make_current(&writer, "db", &version(1), &version(2))
        .await
        .ok();
    let wrong = make_current(&writer, "db", &version(2), &version(2)).await;
    assert!(refused(&wrong, INVALID).contains(&version(1)));
    make_current(&writer, "db", &version(2), &version(1))
        .await
        .ok();
    let missing = make_current(&writer, "db", &version(9), &version(2)).await;
    refused(&missing, "ResourceNotFoundException");
    make_current(&writer, "db", &first, &version(2)).await.ok();
    let described = writer
        .call("secretsmanager.DescribeSecret", &json!({"SecretId": "db"}))
        .await
        .ok();
    let staged = json!({first.clone(): ["AWSCURRENT"], version(2): ["AWSPREVIOUS"]});
    assert_eq!(described["VersionIdsToStages"], staged);
    assert_eq!(described["RotationEnabled"], false);

    // Without a token one is made.
    let asked = json!({"SecretId": "db", "SecretString": "{}"});
    let done = writer
        .call("secretsmanager.PutSecretValue", &asked)
        .await
        .ok();
    assert_eq!(done["VersionId"].as_str().unwrap().len(), 36);
    let log = world.server.log();
    assert!(!log.contains(CANARY));
    let lines = world.changes("writer");
    let allowed = |line: &&Value| line["errorCode"].is_null();
    assert_eq!(lines.iter().filter(allowed).count(), 12, "{lines:#?}");
    let line = &lines[0];
    assert_eq!(line["requestParameters"]["versionId"], version(1));
    assert_eq!(line["requestParameters"]["stages"], "AWSCURRENT");
    assert_eq!(line["decision"], "Allow");
    let exists = lines.iter().find(|line| line["errorCode"] == EXISTS);
    assert_eq!(
        exists.unwrap()["requestParameters"]["versionId"],
        version(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spec_decides_which_keys_may_be_put() {
    let world = World::start().await;
    let writer = world.writer().await;
    let spec = "{generate: [{key: value, password: {}}], target: {form: Plain}}";
    world.secret("one", spec).await;
    // A text that is no object, and bytes, are the key `value`, as they are.
    for (number, whole) in [(1, "no newline at its end"), (2, "[1, 2]\n"), (3, "")] {
        put(&writer, "one", &version(number), whole).await.ok();
        assert_eq!(text(&writer, "one").await, whole);
        world
            .bed
            .wait_value("shop", "one", "value", whole.as_bytes())
            .await;
    }
    let asked =
        json!({"SecretId": "one", "ClientRequestToken": version(4), "SecretBinary": "/wD+"});
    writer
        .call("secretsmanager.PutSecretValue", &asked)
        .await
        .ok();
    assert_eq!(writer.value("one").await.ok()["SecretBinary"], "/wD+");
    let object = put(&writer, "one", &version(5), "{\"user\":\"ann\"}").await;
    assert!(
        refused(&object, INVALID)
            .contains("key `user`: nothing in the spec names it; name it in spec.stored")
    );

    let spec = "{literals: {host: db}, generate: [{key: password, password: {}}], template: {data: {url: \"[[ host ]]:[[ password ]]\"}}, \
                target: {form: Plain}}";
    world.secret("db", spec).await;
    let other = put(&writer, "db", &version(1), "{\"host\":\"other\"}").await;
    assert_eq!(
        refused(&other, INVALID),
        "key `host`: spec.literals says otherwise; change the spec"
    );
    let nested = put(&writer, "db", &version(1), "{\"password\":{\"a\":1}}").await;
    assert!(refused(&nested, INVALID).contains("`password`"));
    let label = json!({"SecretId": "db", "SecretString": "x", "VersionStages": ["blue"]});
    let label = writer.call("secretsmanager.PutSecretValue", &label).await;
    assert!(refused(&label, INVALID).contains("spec.versionStages"));
    // A template renders what was put.
    put(&writer, "db", &version(1), "{\"password\":\"p\"}")
        .await
        .ok();
    world.bed.wait_value("shop", "db", "url", b"db:p").await;
    let binary = json!({"SecretId": "db", "SecretString": "{\"password\":\"p\",\"host\":\"db\"}", "ClientRequestToken": version(2)});
    writer
        .call("secretsmanager.PutSecretValue", &binary)
        .await
        .ok();

    // The greatest value, each byte of it written as six.
    let most = "\u{1}".repeat(65_536);
    put(&writer, "one", &version(6), &most).await.ok();
    assert_eq!(text(&writer, "one").await, most);
    let more = put(&writer, "one", &version(7), &"x".repeat(65_537)).await;
    assert!(refused(&more, INVALID).contains("65536"));

    // What stands in the way is of the ManagedSecret, and is not told by the call.
    world.bed.delete("shop", "managedsecret/one").await;
    world.bed.wait_parked("shop", "one", true).await;
    eventually("the replica has heard of it", || async {
        put(&writer, "one", &version(8), "x").await.error() == NOT_NOW
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_right_puts_nothing_and_a_mount_gives_none() {
    let world = World::start().await;
    world
        .secret("db", "{literals: {a: b}, stored: {}, target: {form: None}}")
        .await;
    let writer = world.writer().await;
    let web = world.calls("shop", "web").await;
    let before = world.bed.versions("shop", "db").await;
    for secret in ["db", "none"] {
        let refusal = put(&web, secret, &version(1), CANARY).await;
        let message = refused(&refusal, DENIED);
        assert!(message.contains("may not PutSecretValue"), "{message}");
    }
    let moved = make_current(&web, "db", &version(1), &before[0].0).await;
    refused(&moved, DENIED);

    // A pod that mounts it reads it, and no more.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "shop"},
        "spec": {
            "serviceAccountName": "web",
            "containers": [{"name": "app", "image": "app"}],
            "volumes": [{"name": "v", "csi": {"driver": "secrets.keystead.dev", "readOnly": true, "volumeAttributes": {"secret": "db"}}}],
        },
    });
    let pods = Api::namespaced(world.bed.client.clone(), "shop");
    let pod = serde_json::from_value(pod).unwrap();
    let pod = pods.create(&PostParams::default(), &pod).await.unwrap();
    let token = world.bound_token("shop", "web", &pod).await;
    let mounted = world.calls_with(token).await;
    assert_eq!(text(&mounted, "db").await, "{\"a\":\"b\"}");
    refused(
        &put(&mounted, "db", &version(1), "{\"x\":\"y\"}").await,
        DENIED,
    );

    // A policy may speak of it; and the key of a secret is asked about who puts, too.
    let allow = "{literals: {a: b}, stored: {}, target: {form: None}, policy: {statements: [{sid: web, effect: Allow, \
                 principals: {serviceAccounts: [{namespace: shop, name: web}]}, actions: [PutSecretValue]}]}}";
    world.secret("db", allow).await;
    eventually("the policy lets it put", || async {
        put(&web, "db", &version(2), "{\"x\":\"y\"}").await.status == 200
    })
    .await;
    let moved = make_current(&web, "db", &before[0].0, &version(2)).await;
    refused(&moved, DENIED);
    world.bed.apply(&key("shop", "cards")).await;
    let spec = "{literals: {a: b}, stored: {}, target: {form: None}, keyRef: {name: cards}}";
    world.secret("cards", spec).await;
    let refusal = put(&writer, "cards", &version(1), "{\"x\":\"y\"}").await;
    let message = refused(&refusal, DENIED);
    assert!(message.contains("may not GenerateDataKey"), "{message}");
    let rule = "[{apiGroups: [keystead.dev], resources: [managedkeys/generatedatakey, managedkeys/decrypt], resourceNames: [cards], verbs: [create]}]";
    let person = Person::new(&world.bed, "system:serviceaccount:shop:writer");
    person.grant("shop", "cards", rule).await;
    eventually("the writer may use the key", || async {
        put(&writer, "cards", &version(1), "{\"x\":\"y\"}")
            .await
            .status
            == 200
    })
    .await;
    let read: Value = serde_json::from_str(&text(&writer, "cards").await).unwrap();
    assert_eq!(read, json!({"a": "b", "x": "y"}));

    let lines = world.changes("web");
    let denied: Vec<_> = lines
        .iter()
        .filter(|line| line["errorCode"] == DENIED)
        .collect();
    assert!(denied.len() >= 4, "{lines:#?}");
    assert!(denied.iter().all(|line| line["decision"] == "Deny"));
    assert!(!world.server.log().contains(CANARY));
}
