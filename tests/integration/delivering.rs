//! Delivery to pods, as the plugin of a node asks for it: files for the token of a pod, and changes and reports for its own. Tokens,
//! pods and nodes are those of a real API server; kubelet is not needed.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{Answer, Bed, Calls, SOON, SYSTEM, Served, eventually, eventually_within};

const DENIED: &str = "AccessDeniedException";
const FILES: &str = "keystead.GetSecretFiles";
const WATCH: &str = "keystead.WatchSecrets";
pub(crate) const REPORT: &str = "keystead.ReportLoaded";
/// The service account of the plugin.
const PLUGIN: &str = "keystead-node";

/// A control plane with nodes `n1` and `n2`, on which no kubelet runs.
pub(crate) struct World(Served);

impl Deref for World {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let world = Self(Served::start(&[("shop", "web"), ("shop", PLUGIN)]).await);
        let nodes: Api<Node> = Api::all(world.bed.client.clone());
        for name in ["n1", "n2"] {
            let node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            nodes.create(&PostParams::default(), &node).await.unwrap();
        }
        // The chart's own, where it has one.
        let account = format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {PLUGIN}, namespace: {SYSTEM}}}}}"
        );
        world.bed.apply(&account).await;
        world.server.wait_ready().await;
        world
    }

    /// A pod with volumes of the driver, each of these attributes.
    pub(crate) async fn pod(
        &self,
        (namespace, account): (&str, &str),
        name: &str,
        node: Option<&str>,
        volumes: &[Value],
    ) -> Pod {
        let volumes = volumes.iter().enumerate().map(|(number, attributes)| {
            json!({"name": format!("v-{number}"), "csi": {"driver": "secrets.keystead.dev", "readOnly": true,
                   "volumeAttributes": attributes}})
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "serviceAccountName": account,
                "nodeName": node,
                "containers": [{"name": "app", "image": "app"}],
                "volumes": volumes.collect::<Vec<_>>(),
            },
        });
        let pods: Api<Pod> = Api::namespaced(self.bed.client.clone(), namespace);
        let pod: Pod = serde_json::from_value(pod).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap()
    }

    /// Calls with the token of that pod.
    async fn calls_of(&self, (namespace, account): (&str, &str), pod: &Pod) -> Calls {
        let token = self.bound_token(namespace, account, pod).await;
        self.calls_with(token).await
    }

    /// The plugin of that node.
    pub(crate) async fn plugin(&self, node: &str) -> Calls {
        let who = (SYSTEM, PLUGIN);
        let name = format!("{PLUGIN}-{node}");
        let pod = self.pod(who, &name, Some(node), &[]).await;
        self.calls_of(who, &pod).await
    }

    /// The pod, as it is now.
    async fn now(&self, pod: &Pod) -> Pod {
        let namespace = pod.namespace().unwrap();
        let pods: Api<Pod> = Api::namespaced(self.bed.client.clone(), &namespace);
        pods.get(&pod.name_any()).await.unwrap()
    }

    /// Has a node say that it runs that kubelet.
    async fn runs(&self, node: &str, kubelet: &str) {
        let nodes: Api<Node> = Api::all(self.bed.client.clone());
        let info = json!({
            "kubeletVersion": kubelet, "operatingSystem": "linux", "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
        });
        let status = Patch::Merge(json!({"status": {"nodeInfo": info}}));
        let params = PatchParams::default();
        nodes.patch_status(node, &params, &status).await.unwrap();
    }

    /// The audit lines of calls of that name that were refused.
    fn refused(&self, call: &str) -> Vec<Value> {
        let mut lines = self.lines();
        lines.retain(|line| line["eventName"] == call);
        for line in &lines {
            assert_eq!(line["decision"], "Deny", "{line}");
            assert_eq!(line["errorCode"], DENIED, "{line}");
        }
        lines
    }
}

fn files(answer: Answer) -> (BTreeMap<String, Vec<u8>>, Value) {
    let body = answer.ok();
    let data = body["Data"].as_object().unwrap().iter();
    let data =
        data.map(|(key, text)| (key.clone(), BASE64.decode(text.as_str().unwrap()).unwrap()));
    (data.collect(), body.clone())
}

async fn get(calls: &Calls, secret: &str) -> Answer {
    calls.call(FILES, &json!({"SecretId": secret})).await
}

/// A secret with one literal, and a template that makes a URL of it.
fn spec(password: &str, template: &str) -> String {
    format!(
        "{{literals: {{password: \"{password}\", user: ann}}, target: {{form: Plain}}, \
         template: {{data: {{url: \"{template}\", password: \"[[ password ]]\"}}}}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_the_files_that_a_native_secret_would_have_and_no_others() {
    let world = World::start().await;
    let url = "db://[[ user ]]:[[ password | urlencode ]]";
    world
        .bed
        .apply_secret("shop", "db", &spec("a/b", url))
        .await;
    let plain = "{literals: {key: v}, target: {form: None}}";
    world.bed.apply_secret("shop", "other", plain).await;
    world.bed.apply_secret("shop", "cache", plain).await;
    for name in ["db", "other", "cache"] {
        world.bed.wait_ready("shop", name).await;
    }
    let who = ("shop", "web");
    let volumes = [
        json!({"secret": "db", "defaultMode": "0400"}),
        json!({"sources": r#"[{"secret": "cache"}, {"secret": "missing"}]"#}),
        json!({"secret": "other", "unknown": "attribute"}),
    ];
    let pod = world.pod(who, "web-0", None, &volumes).await;
    let web = world.calls_of(who, &pod).await;

    let (data, body) = files(get(&web, "db").await);
    assert_eq!(Some(&data), world.bed.data("shop", "db").await.as_ref());
    assert_eq!(data["url"], b"db://ann:a%2Fb");
    let (id, _) = world.bed.versions("shop", "db").await.remove(0);
    assert_eq!(body["VersionId"], id);
    assert!(
        body["Revision"]
            .as_str()
            .is_some_and(|revision| revision.len() == 32)
    );
    let (data, _) = files(get(&web, "cache").await);
    assert_eq!(data, [("key".to_owned(), b"v".to_vec())].into());

    // What a volume names that the plugin would refuse is not mounted.
    assert_eq!(get(&web, "other").await.error(), DENIED);
    assert_eq!(
        get(&web, "missing").await.error(),
        "ResourceNotFoundException"
    );
    let account = world.calls("shop", "web").await;
    assert_eq!(get(&account, "db").await.error(), DENIED);
    let previous = json!({"SecretId": "db", "VersionStage": "AWSPREVIOUS"});
    let none = web.call(FILES, &previous).await;
    assert_eq!(none.error(), "ResourceNotFoundException");

    // An earlier version has its own value, and is another content when the current one is.
    world.bed.apply_secret("shop", "db", &spec("c", url)).await;
    world.bed.wait_ready("shop", "db").await;
    let (data, earlier) = files(web.call(FILES, &previous).await);
    assert_eq!(data["url"], b"db://ann:a%2Fb");
    assert_eq!(earlier["VersionId"], id);
    let (data, current) = files(get(&web, "db").await);
    assert_eq!(data["url"], b"db://ann:c");
    assert_eq!(earlier["Revision"], current["Revision"]);
    assert_ne!(earlier["Revision"], body["Revision"]);

    world
        .bed
        .apply_secret("shop", "db", &spec("c", "[[ nobody ]]"))
        .await;
    world
        .bed
        .wait_not_ready("shop", "db", "TemplateFailed")
        .await;
    eventually("the template fails", || async {
        get(&web, "db").await.status != 200
    })
    .await;
    assert_eq!(get(&web, "db").await.error(), "InvalidRequestException");

    let reads = world.lines();
    let read = |line: &&Value| line["eventName"] == "GetSecretValue" && line["decision"] == "Allow";
    assert!(reads.iter().filter(read).count() >= 4, "{reads:#?}");
    assert!(!world.server.log().contains("db://ann"));
}

#[tokio::test(flavor = "multi_thread")]
async fn for_variables_nothing_is_given_where_the_kubelet_of_the_pod_cannot_take_them() {
    let world = World::start().await;
    let spec = "{literals: {key: v}, target: {form: None}}";
    world.bed.apply_secret("shop", "db", spec).await;
    world.bed.wait_ready("shop", "db").await;
    world.runs("n1", "v1.36.3").await;
    world.runs("n2", "v1.34.4").await;
    let (who, volumes) = (("shop", "web"), [json!({"secret": "db"})]);
    let asked = json!({"SecretId": "db", "ForVariables": true});

    let newer = world.pod(who, "newer", Some("n1"), &volumes).await;
    let newer = world.calls_of(who, &newer).await;
    eventually("the newer one gets it, beside an older one", || async {
        newer.call(FILES, &asked).await.status == 200
    })
    .await;
    let older = world.pod(who, "older", Some("n2"), &volumes).await;
    let older = world.calls_of(who, &older).await;
    let refused = older.call(FILES, &asked).await;
    assert_eq!(refused.error(), "InvalidRequestException");
    let said = refused.body["message"].as_str().unwrap();
    assert!(said.contains("node n2 runs kubelet v1.34.4"), "{said}");
    files(get(&older, "db").await);

    world.runs("n2", "v1.35.0").await;
    eventually("it gets it once its kubelet is newer", || async {
        older.call(FILES, &asked).await.status == 200
    })
    .await;
}

fn known(name: &str, revision: Option<&Value>) -> Value {
    match revision {
        Some(revision) => json!({"Namespace": "shop", "Name": name, "Revision": revision}),
        None => json!({"Namespace": "shop", "Name": name}),
    }
}

async fn poll(calls: &Calls, secrets: &[Value], seconds: u64) -> Vec<Value> {
    let asked = json!({"Secrets": secrets, "WaitSeconds": seconds});
    let told = calls.call(WATCH, &asked).await.ok();
    told["Secrets"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_told_of_another_value_or_template_within_a_second_and_of_nothing_else() {
    let world = World::start().await;
    let plugin = world.plugin("n1").await;
    world
        .bed
        .apply_secret("shop", "db", &spec("a", "[[ user ]]"))
        .await;
    world.bed.wait_ready("shop", "db").await;
    let who = ("shop", "web");
    let pod = world
        .pod(who, "web-0", None, &[json!({"secret": "db"})])
        .await;
    let web = world.calls_of(who, &pod).await;

    let both = [known("db", None), known("missing", None)];
    let mut told = Vec::new();
    eventually("the first version is told", || async {
        poll(&plugin, &both, 5).await.len() == 1
    })
    .await;
    told.extend(poll(&plugin, &both, 5).await);
    assert_eq!(told[0]["Name"], "db");
    let (_, body) = files(get(&web, "db").await);
    assert_eq!(told[0]["Revision"], body["Revision"]);

    // Another value, and another template.
    for (password, template) in [("b", "[[ user ]]"), ("b", "[[ user ]]!")] {
        let revision = told[0]["Revision"].clone();
        let asked = [known("db", Some(&revision)), known("missing", None)];
        let change = async {
            let spec = spec(password, template);
            world.bed.apply_secret("shop", "db", &spec).await;
            world.bed.wait_ready("shop", "db").await;
            Instant::now()
        };
        let poll = async {
            let told = poll(&plugin, &asked, 60).await;
            (told, Instant::now())
        };
        let (changed, (news, at)) = tokio::join!(change, poll);
        assert!(at < changed + Duration::from_secs(1));
        assert_eq!(news.len(), 1, "{news:?}");
        assert_ne!(news[0]["Revision"], revision);
        let (_, body) = files(get(&web, "db").await);
        assert_eq!(news[0]["Revision"], body["Revision"]);
        told = news;
    }

    // A label is no other content; nor does a secret that is not there keep anybody busy.
    let asked = [
        known("db", Some(&told[0]["Revision"])),
        known("missing", None),
    ];
    let label = async {
        let labels = json!({"metadata": {"labels": {"team": "orders"}}});
        world.bed.patch("shop", "managedsecret/db", &labels).await;
    };
    let begun = Instant::now();
    let (news, ()) = tokio::join!(poll(&plugin, &asked, 3), label);
    assert_eq!(news, [] as [Value; 0]);
    assert!(begun.elapsed() >= Duration::from_secs(3));

    // One that is gone is told once.
    world.bed.delete("shop", "managedsecret/db").await;
    let gone = poll(&plugin, &asked[..1], 60).await;
    assert_eq!(gone, [known("db", None)]);
    assert_eq!(poll(&plugin, &gone, 1).await, [] as [Value; 0]);

    let allowed = world.lines();
    let polls = allowed
        .iter()
        .filter(|line| line["eventName"] == "WatchSecrets");
    assert_eq!(polls.count(), 0, "no line for a poll");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_plugin_of_a_node_may_wait_or_report_and_a_replica_that_stops_keeps_nobody_waiting()
 {
    let world = World::start().await;
    let n1 = Some("n1");
    let plugin = world.plugin("n1").await;
    let (web, squatter) = (("shop", "web"), ("shop", PLUGIN));
    let pod = world.pod(web, "web-0", n1, &[]).await;
    let other = world.pod(squatter, "squatter", n1, &[]).await;
    let nowhere = world.pod((SYSTEM, PLUGIN), "nowhere", None, &[]).await;
    let others = [
        world.calls_of(web, &pod).await,
        world.calls_of(squatter, &other).await,
        world.calls_of((SYSTEM, PLUGIN), &nowhere).await,
        world.calls(SYSTEM, PLUGIN).await,
    ];
    for calls in &others {
        let asked = json!({"Secrets": [known("db", None)], "WaitSeconds": 1});
        assert_eq!(calls.call(WATCH, &asked).await.error(), DENIED);
        assert_eq!(
            calls.call(REPORT, &json!({"Pods": []})).await.error(),
            DENIED
        );
    }
    for call in ["WatchSecrets", "ReportLoaded"] {
        let lines = world.refused(call);
        assert_eq!(lines.len(), others.len(), "{lines:#?}");
        assert_eq!(
            lines[0]["userIdentity"]["user"],
            "system:serviceaccount:shop:web"
        );
        assert_eq!(lines[0]["requestParameters"]["node"], "n1");
    }

    // A second call of the same plugin ends the first one.
    let first = async {
        let begun = Instant::now();
        assert_eq!(
            poll(&plugin, &[known("db", None)], 60).await,
            [] as [Value; 0]
        );
        begun.elapsed()
    };
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        poll(&plugin, &[known("db", None)], 1).await
    };
    let (waited, _) = tokio::join!(first, second);
    assert!(waited < Duration::from_secs(30), "{waited:?}");

    let World(Served { server, bed, .. }) = world;
    let begun = Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.stop().await;
    };
    let waiting = [known("db", None)];
    let (told, ()) = tokio::join!(poll(&plugin, &waiting, 60), stop);
    assert_eq!(told, [] as [Value; 0]);
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    drop(bed);
}

/// The condition of a pod, if it has it.
fn loaded(pod: &Pod) -> Option<(String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let it = conditions
        .iter()
        .find(|c| c.type_ == "keystead.dev/SecretsLoaded")?;
    Some((it.status.clone(), it.message.clone()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_shown_once_and_only_for_pods_of_the_node_that_mount_what_it_names() {
    const VERSION: &str = "1b4e28ba-2fa1-4d1c-8d8a-1f2e3d4c5b6a";
    const NEXT: &str = "6fa459ea-ee8a-4ca4-894e-db77e160355e";
    let world = World::start().await;
    let (n1, n2) = (world.plugin("n1").await, world.plugin("n2").await);
    let who = ("shop", "web");
    let volumes = [json!({"secret": "db"}), json!({"secret": "cache"})];
    let pod = world.pod(who, "web-0", Some("n1"), &volumes).await;
    let unplaced = world.pod(who, "web-1", None, &volumes).await;
    let said = |pod: &Pod, secrets: Value| json!({"Namespace": "shop", "Name": pod.name_any(), "Uid": pod.uid().unwrap(), "Secrets": secrets});
    let report = async |calls: &Calls, pods: &[Value]| {
        let answer = calls.call(REPORT, &json!({"Pods": pods})).await.ok();
        answer["Failed"].as_array().unwrap().clone()
    };

    let both = json!({"db": VERSION, "cache": NEXT});
    let reported = [said(&pod, both.clone())];
    assert_eq!(report(&n1, &reported).await, [] as [Value; 0]);
    let shown = world.now(&pod).await;
    let message = format!("cache={NEXT}, db={VERSION}");
    assert_eq!(loaded(&shown), Some(("True".to_owned(), message)));
    assert_eq!(report(&n1, &reported).await, [] as [Value; 0]);
    let again = world.now(&pod).await;
    assert_eq!(
        again.resource_version(),
        shown.resource_version(),
        "nothing was written"
    );

    // None of these is shown; each is told by its UID, and written down.
    let mut other = said(&pod, both.clone());
    other["Uid"] = json!("00000000-0000-4000-8000-000000000001");
    let more = said(&pod, json!({"db": NEXT, "theirs": NEXT}));
    let mut missing = said(&pod, both.clone());
    missing["Name"] = json!("web-9");
    let refused = [other, more, missing, said(&unplaced, both.clone())];
    let failed = report(&n1, &refused).await;
    assert_eq!(failed.len(), 4, "{failed:?}");
    for (failure, said) in failed.iter().zip(&refused) {
        assert_eq!(
            (&failure["Code"], &failure["Uid"]),
            (&json!(DENIED), &said["Uid"])
        );
    }
    let elsewhere = report(&n2, &[said(&pod, json!({"db": NEXT}))]).await;
    assert_eq!(elsewhere[0]["Code"], DENIED);
    let no_version = report(&n1, &[said(&pod, json!({"db": "latest"}))]).await;
    assert_eq!(no_version[0]["Code"], "InvalidParameterException");
    let after = world.now(&pod).await;
    assert_eq!(after.resource_version(), shown.resource_version());
    let lines = world.refused("ReportLoaded");
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let named = lines[0]["requestParameters"]["reportedPod"]
        .as_str()
        .unwrap();
    assert!(named.starts_with("shop/web-0 (00000000-"), "{named}");

    // The next version, of one that was refused in between.
    let next = said(&pod, json!({"db": NEXT}));
    assert_eq!(report(&n1, &[next]).await, [] as [Value; 0]);
    let (_, message) = loaded(&world.now(&pod).await).unwrap();
    assert_eq!(message, format!("db={NEXT}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_changes_nothing_of_a_pod_but_its_own_condition() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    bed.kubectl(&["create", "serviceaccount", "web", "-n", "shop"])
        .await
        .expect_ok();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "app"}]},
    });
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "shop");
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let ready = json!({"type": "Ready", "status": "False"});
    let status = json!({"status": {"conditions": [ready], "podIP": "10.0.0.1"}});
    let (params, patch) = (PatchParams::default(), Patch::Strategic(status));
    pods.patch_status("web-0", &params, &patch).await.unwrap();

    // Not by kubectl, which reads the status before it patches it: the server has no right to that.
    let server = bed
        .cluster
        .client_for_service_account(SYSTEM, "keystead-server")
        .await
        .unwrap();
    let of_server: Api<Pod> = Api::namespaced(server, "shop");
    let as_server = async |patch: &Value| {
        let patch = Patch::Strategic(patch);
        let patched = of_server.patch_status("web-0", &params, &patch).await;
        patched.map_err(|error| error.to_string())
    };
    let probes = std::cell::Cell::new(0);
    eventually("the policy is in force", || async {
        // Another one each time: what changes nothing is no change.
        probes.set(probes.get() + 1);
        let probe = format!("probe {}", probes.get());
        as_server(&json!({"status": {"message": probe}}))
            .await
            .is_err()
    })
    .await;
    for other in [
        json!({"status": {"phase": "Failed"}}),
        json!({"status": {"podIP": null}}),
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        json!({"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}),
        json!({"status": {"conditions": [{"type": "example.com/Other", "status": "True"}]}}),
        json!({"status": {"containerStatuses": [
            {"name": "app", "image": "app", "imageID": "", "ready": true, "restartCount": 0}]}}),
        json!({"metadata": {"labels": {"app": "other"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["example.com/held"]}}),
    ] {
        let before = pods.get("web-0").await.unwrap().metadata.resource_version;
        let message = "changes nothing of a pod but its condition keystead.dev/SecretsLoaded";
        match as_server(&other).await {
            Err(refused) => assert!(refused.contains(message), "{other}: {refused}"),
            // The API server itself makes some changes none, such as taking out an address that it has twice.
            Ok(pod) => assert_eq!(pod.metadata.resource_version, before, "{other}"),
        }
    }
    for value in ["True", "False"] {
        let own = json!({"type": "keystead.dev/SecretsLoaded", "status": value, "message": "db=1"});
        let own = json!({"status": {"conditions": [own]}});
        as_server(&own).await.unwrap();
    }
    let now = pods.get("web-0").await.unwrap();
    let (status, _) = loaded(&now).unwrap();
    assert_eq!(status, "False");
    assert_eq!(now.status.unwrap().pod_ip.as_deref(), Some("10.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_trusts_the_server_is_published_and_put_back() {
    let bed = Bed::start().await;
    let _controller = bed.operator().await;
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), SYSTEM);
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), SYSTEM);
    let published = || async {
        let map = maps.get_opt("keystead-ca").await.unwrap()?;
        map.data
    };
    eventually("it is published", || async { published().await.is_some() }).await;
    let served = || async { secrets.get_opt("keystead-server-tls").await.unwrap() };
    eventually("the certificate is made", || async {
        served().await.is_some()
    })
    .await;
    let authority = served().await.unwrap().data.unwrap()["ca.crt"].0.clone();
    let whole = published().await.unwrap();
    assert_eq!(whole.keys().collect::<Vec<_>>(), ["ca.crt"]);
    assert_eq!(whole["ca.crt"].as_bytes(), authority);
    assert!(!whole["ca.crt"].contains("PRIVATE"));

    let changed = json!({"data": {"ca.crt": "theirs", "more": "x"}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(changed));
    maps.patch("keystead-ca", &params, &patch).await.unwrap();
    eventually_within(SOON, "it is put back", || async {
        published().await.as_ref() == Some(&whole)
    })
    .await;
    maps.delete("keystead-ca", &DeleteParams::default())
        .await
        .unwrap();
    eventually_within(SOON, "it is made again", || async {
        published().await.as_ref() == Some(&whole)
    })
    .await;

    // Another authority is published as soon as it is made.
    let gone = DeleteParams::default();
    let guarded = bed
        .kubectl(&["label", "namespace", SYSTEM, "keystead.dev/guard-"])
        .await;
    guarded.expect_ok();
    eventually("the guard is lifted", || async {
        secrets.delete("keystead-ca", &gone).await.is_ok()
    })
    .await;
    eventually("another one is published", || async {
        published().await.is_some_and(|map| map != whole)
    })
    .await;
    eventually("the certificate is of it", || async {
        let served = served().await.unwrap().data.unwrap();
        published().await.unwrap()["ca.crt"].as_bytes() == served["ca.crt"].0
    })
    .await;
}
