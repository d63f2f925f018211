//! Tokens that kubelet replaces, and audiences that keep those of one service from being taken by another.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Secret;
use keystead_cluster::Options;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{Bed, Calls, Operator, Person, SYSTEM, eventually};

/// How long a client may go on with a token after its file has another: kubelet replaces it much longer before it ends.
const MAY_BE_KEPT: Duration = Duration::from_secs(70);

/// The token of a `ServiceAccount` of the operator, in a file as kubelet keeps it. It ends with the Secret that it is bound to.
struct TokenFile<'a> {
    bed: &'a Bed,
    account: &'static str,
    /// The Secret, and the token.
    held: (String, String),
}

impl<'a> TokenFile<'a> {
    async fn new(bed: &'a Bed, account: &'static str) -> Self {
        let held = token(bed, account, 1).await;
        let file = Self { bed, account, held };
        file.write();
        file
    }

    fn path(&self) -> PathBuf {
        self.bed.folder().join(format!("{}.token", self.account))
    }

    /// By renaming, as kubelet does.
    fn write(&self) {
        let new = self.path().with_extension("new");
        std::fs::write(&new, &self.held.1).expect("it can be written");
        std::fs::rename(new, self.path()).expect("it can be renamed");
    }

    /// Puts another one in its place. Returns the one before.
    async fn replace(&mut self) -> (String, String) {
        let new = token(self.bed, self.account, 2).await;
        let before = std::mem::replace(&mut self.held, new);
        self.write();
        before
    }

    async fn kubeconfig(&self) -> PathBuf {
        let path = self
            .bed
            .cluster
            .kubeconfig_for_service_account(SYSTEM, self.account);
        let text = std::fs::read(path.await.expect("the chart made it")).expect("it can be read");
        let mut config: Value = serde_json::from_slice(&text).expect("it is JSON");
        config["users"][0]["user"] = json!({"tokenFile": self.path()});
        let path = self
            .bed
            .folder()
            .join(format!("{}.kubeconfig", self.account));
        std::fs::write(&path, config.to_string()).expect("it can be written");
        path
    }
}

/// A token of the API server's audience that ends with a Secret of its own; the name of that, and the token.
async fn token(bed: &Bed, account: &str, number: u32) -> (String, String) {
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), SYSTEM);
    let name = format!("life-of-{account}-{number}");
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.clone());
    let made = secrets.create(&PostParams::default(), &secret).await;
    let object = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some(name.clone()),
        uid: made.expect("the Secret is made").metadata.uid,
    };
    let token = bed.cluster.bound_token(SYSTEM, account, &[], object).await;
    (name, token.expect("a token is made"))
}

/// Whether the API server takes the token for its own.
async fn is_taken(bed: &Bed, token: &str) -> bool {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: token.to_owned(),
            audiences: None,
        },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(bed.client.clone());
    let reviewed = reviews.create(&PostParams::default(), &review).await;
    let status = reviewed.expect("it is reviewed").status;
    status.is_some_and(|status| status.authenticated == Some(true))
}

/// A secret that is made, and read by a call.
async fn assert_served(bed: &Bed, server: &Operator, name: &str) {
    let spec = "{generate: [{key: value, password: {length: 40}}], target: {form: None}}";
    bed.apply_secret("shop", name, spec).await;
    bed.wait_ready("shop", name).await;
    let reader = Calls::account(bed, server, "shop", "reader").await;
    eventually("the secret is read", || async {
        reader.value(name).await.status == 200
    })
    .await;
}

async fn reader(bed: &Bed) {
    bed.namespace("shop").await;
    bed.kubectl(&["create", "serviceaccount", "reader", "-n", "shop"])
        .await
        .expect_ok();
    let person = Person::new(bed, "system:serviceaccount:shop:reader");
    let rule = "[{apiGroups: [keystead.dev], resources: [managedsecrets/value], verbs: [get]}]";
    person.grant("shop", "reader", rule).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_audiences_of_its_own_and_tokens_that_are_replaced_an_api_server_serves_as_before() {
    let options = Options {
        api_server_flags: vec!["--api-audiences=custom".to_owned()],
        ..Options::default()
    };
    let bed = Bed::start_with(options, &[]).await;
    let mut files = [
        TokenFile::new(&bed, "keystead-controller").await,
        TokenFile::new(&bed, "keystead-server").await,
    ];
    let controller = bed.operator_by(&files[0].kubeconfig().await);
    let server = bed.server_by(&files[1].kubeconfig().await);
    controller.wait_ready().await;
    server.wait_ready().await;
    reader(&bed).await;
    assert_served(&bed, &server, "first").await;

    let mut former = Vec::new();
    for file in &mut files {
        former.push(file.replace().await);
    }
    sleep(MAY_BE_KEPT).await;
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), SYSTEM);
    for (secret, token) in &former {
        assert!(is_taken(&bed, token).await);
        let deleted = secrets.delete(secret, &DeleteParams::default()).await;
        deleted.expect("the Secret is deleted");
        eventually("the former token is over", || async {
            !is_taken(&bed, token).await
        })
        .await;
    }
    assert_served(&bed, &server, "second").await;
    for part in [&controller, &server] {
        part.wait_ready().await;
        let log = part.log();
        assert!(!log.contains("Unauthorized"), "{log}");
    }

    // Neither is a token for one of them a token for the other.
    let ours = bed.cluster.token("shop", "reader", &["keystead.dev"]).await;
    assert!(!is_taken(&bed, &ours.expect("a token")).await);
    let theirs = bed.cluster.token("shop", "reader", &[]).await;
    let theirs = theirs.expect("a token");
    assert!(is_taken(&bed, &theirs).await);
    let calls = Calls::token(&bed, &server, theirs).await;
    let answer = calls.value("second").await;
    assert_eq!(answer.error(), "UnrecognizedClientException");
}
