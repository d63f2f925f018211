//! What may be put while a secret is rotated, and by whom.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{DENIED, NOT_NOW, World, make_current, put, refused, version};
use crate::schedules::{ask, owned, schedule};
use crate::support::{OPERATOR_USER, Person, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn during_a_rotation_nothing_else_is_put_and_made_current() {
    let world = World::start().await;
    let bed = &world.bed;
    // Nobody listens there: the new password is pending for as long as that is so.
    let spec = "{generate: [{key: password, password: {}}], literals: {username: app, host: 192.0.2.1, port: \"5432\", dbname: app}, \
                target: {form: None}}";
    world.secret("db", spec).await;
    let writer = world.writer().await;
    let describe = || async {
        let asked = json!({"SecretId": "db"});
        writer
            .call("secretsmanager.DescribeSecret", &asked)
            .await
            .ok()
    };
    assert_eq!(describe().await["RotationEnabled"], false);
    let pending = json!({"SecretId": "db", "ClientRequestToken": version(1), "SecretString": "{}", "VersionStages": ["AWSPENDING"]});
    let none = writer.call("secretsmanager.PutSecretValue", &pending).await;
    assert!(refused(&none, NOT_NOW).contains("no rotation is under way"));

    bed.apply(&schedule(
        "db",
        "db",
        "strategy: {postgres: {users: Single}}",
    ))
    .await;
    eventually("there is a schedule", || async {
        describe().await["RotationEnabled"] == true
    })
    .await;
    ask(bed, "db", "now").await;
    let made = || async {
        let stages = describe().await["VersionIdsToStages"].clone();
        let stages = stages.as_object().unwrap().clone();
        let pending = stages.iter().find(|(_, of)| of[0] == "AWSPENDING");
        pending.map(|(id, _)| id.clone())
    };
    eventually("a rotation is under way", || async {
        made().await.is_some()
    })
    .await;
    let (rotated, current) = (made().await.unwrap(), bed.versions("shop", "db").await);
    let current = current
        .iter()
        .find(|(_, stages)| stages.contains(&"Current".to_owned()));
    let current = current.unwrap().0.clone();
    let answer = put(&writer, "db", &version(1), "{\"password\":\"x\"}").await;
    assert!(refused(&answer, NOT_NOW).contains("a rotation is under way"));
    let answer = writer.call("secretsmanager.PutSecretValue", &pending).await;
    refused(&answer, NOT_NOW);
    let answer = make_current(&writer, "db", &rotated, &current).await;
    assert!(refused(&answer, NOT_NOW).contains("after TestSecret"));
    make_current(&writer, "db", &current, &current).await.ok();
    let give_up =
        json!({"SecretId": "db", "VersionStage": "AWSPENDING", "RemoveFromVersionId": rotated});
    let answer = writer
        .call("secretsmanager.UpdateSecretVersionStage", &give_up)
        .await;
    assert!(refused(&answer, NOT_NOW).contains("cancel-rotation"));
    assert_eq!(made().await, Some(rotated), "the rotation goes on");
}

/// A Job of the operator's with the label of that version; its pod, as the Job controller made it.
async fn pod_of_job(world: &World, name: &str, version: &str) -> Pod {
    let bed = &world.bed;
    let operator = Person::new(bed, OPERATOR_USER);
    operator.can(&["create", "jobs", "-n", "shop"]).await;
    let labels = format!("{{keystead.dev/rotation-version: {version}}}");
    let owner = owned(bed).await;
    let job = format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}, namespace: shop, labels: {labels}, {owner}}}, spec: {{template: {{metadata: {{labels: {labels}}}, \
         spec: {{serviceAccountName: web, restartPolicy: Never, containers: [{{name: a, image: a}}]}}}}}}}}"
    );
    operator
        .kubectl_with(&["create", "-f", "-"], &job)
        .await
        .expect_ok();
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "shop");
    let of_job = ListParams::default().labels(&format!("job-name={name}"));
    let found = || async { pods.list(&of_job).await.unwrap().items.pop() };
    eventually("the Job has a pod", || async { found().await.is_some() }).await;
    found().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_the_operators_job_reads_the_current_version_outside_of_a_rotation_and_puts_nothing()
 {
    let world = World::start().await;
    let spec = "{literals: {host: db, password: p}, stored: {}, template: {data: {url: \"[[ host ]]:[[ password ]]\"}}, target: {form: None}}";
    world.secret("db", spec).await;
    world
        .secret("other", "{literals: {a: b}, target: {form: None}}")
        .await;
    let current = world.bed.versions("shop", "db").await.remove(0).0;
    let pod = pod_of_job(&world, "test", &current).await;
    assert_eq!(pod.labels()["keystead.dev/rotation-version"], current);
    let token = world.bound_token("shop", "web", &pod).await;
    let calls = world.calls_with(token).await;
    let read = calls.value("db").await.ok();
    let read: Value = serde_json::from_str(read["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(read, json!({"host": "db", "password": "p"}));
    for call in ["DescribeSecret", "ListSecretVersionIds"] {
        let asked = json!({"SecretId": "db"});
        calls
            .call(&format!("secretsmanager.{call}"), &asked)
            .await
            .ok();
    }
    // The keys themselves, and not what the template makes of them.
    let files = calls
        .call("keystead.GetSecretFiles", &json!({"SecretId": "db"}))
        .await
        .ok();
    assert_eq!(files["Data"], json!({"host": "ZGI=", "password": "cA=="}));
    assert_eq!(calls.value("other").await.error(), DENIED);
    let answer = put(
        &calls,
        "db",
        &version(1),
        "{\"password\":\"x\",\"host\":\"db\"}",
    )
    .await;
    refused(&answer, DENIED);
    // A pod of a version that is neither current nor rotated is as any other.
    let pod = pod_of_job(&world, "late", &version(7)).await;
    let token = world.bound_token("shop", "web", &pod).await;
    let late = world.calls_with(token).await;
    assert_eq!(late.value("db").await.error(), DENIED);
    let lines = world.lines();
    let reasons = lines.iter().filter_map(|line| line["reason"].as_str());
    assert!(
        reasons
            .into_iter()
            .any(|reason| reason.contains("the Job that rotates"))
    );
}
