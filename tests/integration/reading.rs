//! Reading a secret by a call of the API: who may, who may not, and what is written down of it. Tokens, pods and rights are those of a
//! real API server.

mod cached;

use std::ops::Deref;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::support::{Answer, Calls, Person, Served, eventually, key};

/// What is stored. As a text no log has it by chance.
const CANARY: &str = "canary of a password that is read";

const DENIED: &str = "AccessDeniedException";

/// A control plane with two namespaces, whose API is called.
struct World(Served);

impl Deref for World {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl World {
    async fn start() -> Self {
        let accounts = [("shop", "web"), ("shop", "reader"), ("farm", "cow")];
        Self(Served::start(&accounts).await)
    }

    /// A secret with one literal, and what else its spec says.
    async fn secret(&self, name: &str, more: &str) {
        let spec = format!("{{literals: {{password: {CANARY}}}, target: {{form: None}}{more}}}");
        self.bed.apply_secret("shop", name, &spec).await;
        self.bed.wait_ready("shop", name).await;
    }

    /// Gives a service account the right to a secret's value in `shop`.
    async fn may_read(&self, namespace: &str, account: &str, secret: &str) {
        let rule = format!(
            "[{{apiGroups: [keystead.dev], resources: [managedsecrets/value, managedsecrets], resourceNames: [{secret}], verbs: [get]}}]"
        );
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let person = Person::new(&self.bed, &user);
        person.grant("shop", secret, &rule).await;
        let object = format!("managedsecrets/{secret}");
        person
            .can(&["get", &object, "--subresource=value", "-n", "shop"])
            .await;
    }

    /// A pod that mounts these secrets of its namespace, and calls with the token that kubelet would give it.
    async fn pod(&self, namespace: &str, account: &str, name: &str, secrets: &[&str]) -> Calls {
        let volume = |secret: &&str| {
            json!({"name": format!("v-{secret}"), "csi": {"driver": "secrets.keystead.dev", "readOnly": true,
                   "volumeAttributes": {"secret": secret}}})
        };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "serviceAccountName": account,
                "containers": [{"name": "app", "image": "app"}],
                "volumes": secrets.iter().map(volume).collect::<Vec<_>>(),
            },
        });
        let pods: Api<Pod> = Api::namespaced(self.bed.client.clone(), namespace);
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let made = pods.create(&PostParams::default(), &pod).await.unwrap();
        let token = self.bound_token(namespace, account, &made).await;
        self.calls_with(token).await
    }

    /// Those about reads of values by that service account, which came to that error or to none.
    fn reads(&self, account: &str, error: Option<&str>) -> Vec<Value> {
        let user = format!("system:serviceaccount:{account}");
        let mut lines = self.lines();
        lines.retain(|line| {
            line["eventName"] == "GetSecretValue"
                && line["userIdentity"]["user"] == user
                && line["errorCode"].as_str() == error
        });
        lines
    }
}

fn password(answer: Answer) -> String {
    let body = answer.ok();
    let value: Value = serde_json::from_str(body["SecretString"].as_str().unwrap()).unwrap();
    value["password"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_a_policy_or_a_mount_lets_read_and_each_read_is_written_down() {
    let world = World::start().await;
    world.secret("db", "").await;
    let web = world.calls("shop", "web").await;

    // Whoever may read nothing is told the same of a secret that is not there.
    let (there, missing) = (web.value("db").await, web.value("none").await);
    assert_eq!((there.error(), missing.error()), (DENIED, DENIED));
    let told = |answer: &Answer| answer.body["message"].as_str().unwrap().to_owned();
    assert_eq!(told(&there).replace(" of db:", " of none:"), told(&missing));

    world.may_read("shop", "reader", "db").await;
    world.may_read("shop", "reader", "none").await;
    let reader = world.calls("shop", "reader").await;
    let read = reader.value("db").await.ok();
    assert_eq!(read["Name"], "db");
    assert_eq!(read["VersionStages"], json!(["AWSCURRENT"]));
    let (id, _) = world.bed.versions("shop", "db").await.remove(0);
    assert_eq!(read["VersionId"], id);
    let value: Value = serde_json::from_str(read["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(value, json!({"password": CANARY}));
    assert_eq!(
        reader.value("none").await.error(),
        "ResourceNotFoundException"
    );

    let described = reader
        .call("secretsmanager.DescribeSecret", &json!({"SecretId": "db"}))
        .await;
    let described = described.ok();
    assert_eq!(
        described["VersionIdsToStages"],
        json!({id.clone(): ["AWSCURRENT"]})
    );
    let arn = described["ARN"].as_str().unwrap().to_owned();

    // Nor does whoever guesses the account of a namespace learn whether there is one, and what it is called.
    let guessed = arn.replace(arn.split(':').nth(4).unwrap(), "000000000000");
    assert_ne!(guessed, arn);
    let (there, missing) = (web.value(&arn).await, web.value(&guessed).await);
    assert_eq!((there.error(), missing.error()), (DENIED, DENIED));
    assert_eq!(told(&there).replace(&arn, &guessed), told(&missing));

    // Of another namespace, by the ARN, and only while the policy says so.
    let cow = world.calls("farm", "cow").await;
    assert_eq!(cow.value(&arn).await.error(), DENIED);
    let allow = "policy: {statements: [{sid: cow, effect: Allow, principals: {serviceAccounts: [{namespace: farm, name: cow}]}, \
                 actions: [GetSecretValue]}]}";
    world.secret("db", &format!(", {allow}")).await;
    eventually("the cow may read", || async {
        cow.value(&arn).await.status == 200
    })
    .await;
    assert_eq!(password(cow.value(&arn).await), CANARY);
    assert_eq!(
        cow.value("db").await.error(),
        DENIED,
        "its own namespace has none"
    );
    let asked = json!({"SecretId": arn});
    let described = cow.call("secretsmanager.DescribeSecret", &asked).await;
    assert_eq!(
        described.error(),
        DENIED,
        "the policy speaks of the value only"
    );

    // A Deny wins over RBAC.
    let deny = "policy: {statements: [{sid: nobody, effect: Deny, principals: {namespaces: [shop, farm]}, actions: ['*']}]}";
    world.secret("db", &format!(", {deny}")).await;
    eventually("nobody may read", || async {
        reader.value("db").await.status != 200
    })
    .await;
    let refused = reader.value("db").await;
    assert!(
        told(&refused).contains("statement 0 (nobody)"),
        "{refused:?}"
    );

    let of = |user: &str, error| world.reads(user, error);
    let read = of("shop:reader", None);
    assert_eq!(read.len(), 1, "{read:#?}");
    assert_eq!(read[0]["decision"], "Allow");
    assert_eq!(read[0]["requestParameters"]["versionId"], id);
    let named = |line: &Value, type_: &str, name: &str| {
        let resources = line["resources"].as_array().unwrap().iter();
        resources
            .filter(|r| r["type"] == type_ && r["name"] == name && r["namespace"] == "shop")
            .count()
    };
    assert_eq!(named(&read[0], "ManagedSecret", "db"), 1);
    assert_eq!(named(&read[0], "ManagedKey", "keystead-default"), 1);
    let refused = of("shop:web", Some(DENIED));
    let said = refused
        .iter()
        .map(|line| &line["requestParameters"]["secretId"]);
    assert_eq!(said.collect::<Vec<_>>(), ["db", "none", &arn, &guessed]);
    let by_policy = of("farm:cow", None);
    assert!(
        by_policy[0]["reason"]
            .as_str()
            .unwrap()
            .contains("statement 0 (cow)")
    );
    assert!(!world.server.log().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reads_what_its_spec_mounts_and_nothing_else() {
    let world = World::start().await;
    world.secret("db", "").await;
    world.secret("other", "").await;
    world
        .secret("narrow", ", consumers: {serviceAccounts: [reader]}")
        .await;
    world
        .bed
        .apply_secret(
            "farm",
            "db",
            "{literals: {password: hay}, target: {form: None}}",
        )
        .await;
    world.bed.wait_ready("farm", "db").await;

    let web = world
        .pod("shop", "web", "web-0", &["db", "narrow", "missing"])
        .await;
    assert_eq!(password(web.value("db").await), CANARY);
    assert_eq!(web.value("other").await.error(), DENIED);
    let refused = web.value("narrow").await;
    assert_eq!(refused.error(), DENIED);
    assert!(
        refused.body["message"]
            .as_str()
            .unwrap()
            .contains("spec.consumers")
    );
    // kubelet tries again until it is there.
    assert_eq!(
        web.value("missing").await.error(),
        "ResourceNotFoundException"
    );
    let reader = world.pod("shop", "reader", "reader-0", &["narrow"]).await;
    assert_eq!(password(reader.value("narrow").await), CANARY);

    // A pod that names what is in another namespace mounts what is in its own.
    let arn = web
        .call("secretsmanager.DescribeSecret", &json!({"SecretId": "db"}))
        .await
        .ok();
    let arn = arn["ARN"].as_str().unwrap().to_owned();
    let cow = world.pod("farm", "cow", "cow-0", &["db"]).await;
    assert_eq!(password(cow.value("db").await), "hay");
    assert_eq!(cow.value(&arn).await.error(), DENIED);

    // The token of a service account is no pod's, and that of a pod that is gone is nobody's.
    let account = world.calls("shop", "web").await;
    assert_eq!(account.value("db").await.error(), DENIED);
    let pods: Api<Pod> = Api::namespaced(world.bed.client.clone(), "shop");
    let gone = DeleteParams::default().grace_period(0);
    pods.delete("web-0", &gone).await.unwrap();
    eventually("the token of the pod is not taken any more", || async {
        let answer = web.value("db").await;
        answer.status != 200 && answer.error() == "UnrecognizedClientException"
    })
    .await;
    // Another pod of the same name that mounts nothing.
    let again = world.pod("shop", "web", "web-0", &[]).await;
    assert_eq!(again.value("db").await.error(), DENIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_secret_is_asked_about_its_reader_too() {
    let world = World::start().await;
    world.bed.apply(&key("shop", "cards")).await;
    world.secret("db", ", keyRef: {name: cards}").await;
    world.may_read("shop", "reader", "db").await;
    let reader = world.calls("shop", "reader").await;
    let refused = reader.value("db").await;
    assert_eq!(refused.error(), DENIED);
    let message = refused.body["message"].as_str().unwrap().to_owned();
    assert!(message.contains("may not Decrypt"), "{message}");
    // Whoever mounts it gets it in the secret's own name.
    let web = world.pod("shop", "web", "web-0", &["db"]).await;
    assert_eq!(password(web.value("db").await), CANARY);

    let user = "system:serviceaccount:shop:reader";
    let rule = "[{apiGroups: [keystead.dev], resources: [managedkeys/decrypt], resourceNames: [cards], verbs: [create]}]";
    let person = Person::new(&world.bed, user);
    person.grant("shop", "decrypt", rule).await;
    eventually("the reader may use the key", || async {
        reader.value("db").await.status == 200
    })
    .await;

    // A Deny of the key speaks of whoever reads, also of a pod.
    let deny = "spec: {policy: {statements: [{sid: not-web, effect: Deny, principals: {serviceAccounts: [{namespace: shop, name: web}]}, \
                actions: [Decrypt], conditions: {via: [secrets]}}]}}";
    world
        .bed
        .apply(&key("shop", "cards").replace("spec: {}", deny))
        .await;
    eventually("the key denies it to the pod", || async {
        web.value("db").await.status != 200
    })
    .await;
    assert_eq!(web.value("db").await.error(), DENIED);
    assert_eq!(reader.value("db").await.status, 200);

    // A key that is out of use decrypts for nobody.
    world
        .bed
        .apply(&key("shop", "cards").replace("spec: {}", "spec: {enabled: false}"))
        .await;
    eventually("the key is out of use", || async {
        reader.value("db").await.status != 200
    })
    .await;
    assert_eq!(reader.value("db").await.error(), "DecryptionFailure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_audience_a_secret_that_is_gone_and_a_namespace_made_anew_give_nothing()
{
    let world = World::start().await;
    world.secret("db", "").await;
    world.may_read("shop", "reader", "db").await;
    for audiences in [&[][..], &["vault"]] {
        let token = world
            .bed
            .cluster
            .token("shop", "reader", audiences)
            .await
            .unwrap();
        let calls = world.calls_with(token).await;
        assert_eq!(
            calls.value("db").await.error(),
            "UnrecognizedClientException"
        );
    }
    let calls = world.calls_with("no.such.token".to_owned()).await;
    assert_eq!(
        calls.value("db").await.error(),
        "UnrecognizedClientException"
    );

    let reader = world.calls("shop", "reader").await;
    assert_eq!(password(reader.value("db").await), CANARY);
    let batch = json!({"SecretIdList": ["db", "other"]});
    let batch = reader
        .call("secretsmanager.BatchGetSecretValue", &batch)
        .await
        .ok();
    assert_eq!(batch["SecretValues"][0]["Name"], "db");
    assert_eq!(batch["Errors"][0]["ErrorCode"], DENIED);
    let random = reader
        .call(
            "secretsmanager.GetRandomPassword",
            &json!({"PasswordLength": 20}),
        )
        .await;
    assert_eq!(random.ok()["RandomPassword"].as_str().unwrap().len(), 20);
    let unknown = reader
        .call("secretsmanager.DeleteEverything", &json!({}))
        .await;
    assert_eq!(unknown.error(), "UnknownOperationException");

    world.bed.delete("shop", "managedsecret/db").await;
    eventually("the secret waits for its end", || async {
        let answer = reader.value("db").await;
        answer.status != 200 && answer.error() == "InvalidRequestException"
    })
    .await;
    let described = reader
        .call("secretsmanager.DescribeSecret", &json!({"SecretId": "db"}))
        .await;
    assert!(described.ok()["DeletedDate"].is_f64());

    // What waits of a namespace that is gone is not that of the one which has its name now.
    let namespaces: Api<Namespace> = Api::all(world.bed.client.clone());
    namespaces
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the namespace is gone", || async {
        namespaces.get_opt("shop").await.unwrap().is_none()
    })
    .await;
    world.bed.namespace("shop").await;
    world.account("shop", "reader").await;
    world.may_read("shop", "reader", "db").await;
    let reader = world.calls("shop", "reader").await;
    assert_eq!(
        reader.value("db").await.error(),
        "ResourceNotFoundException"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_played_to_another_replica_gives_no_more_there_and_ends_with_its_pod() {
    let world = World::start().await;
    world.secret("db", "").await;
    world.secret("other", "").await;
    let second = world.bed.server_named("two").await;
    second.wait_ready().await;
    let pod = world.pod("shop", "web", "web-0", &["db"]).await;
    let both = [pod.at(&world.server), pod.at(&second)];
    for calls in &both {
        assert_eq!(password(calls.value("db").await), CANARY);
        assert_eq!(calls.value("other").await.error(), DENIED);
    }
    let pods: Api<Pod> = Api::namespaced(world.bed.client.clone(), "shop");
    let at_once = DeleteParams::default().grace_period(0);
    pods.delete("web-0", &at_once).await.unwrap();
    for calls in &both {
        eventually("its pod is gone, and so is what the token gave", || async {
            let answer = calls.value("db").await;
            answer.status != 200 && answer.error() == "UnrecognizedClientException"
        })
        .await;
    }
    // Each replica has written down what it refused.
    for log in [world.server.log(), second.log()] {
        let refused = log.lines().filter(|line| {
            line.contains("\"eventName\":\"GetSecretValue\"")
                && line.contains("\"decision\":\"Deny\"")
        });
        assert!(refused.count() >= 1, "{log}");
    }
}
