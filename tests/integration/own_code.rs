//! Rotation by code of the user's own: in Jobs, whose pods end here as the tests say, and behind webhooks.

mod webhook;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::schedules::{ask, ready, schedule, status, wait_reason, wait_rotations};
use crate::support::{Bed, Person, Served, eventually_within};

const PATIENCE: Duration = Duration::from_secs(120);
const STRATEGY: &str = "strategy: {job: {templateFrom: {cronJob: {name: rotate}}}}";
const SERVICE_ACCOUNT: &str =
    "{apiVersion: v1, kind: ServiceAccount, metadata: {name: rotator, namespace: shop}}";
const GENERATED: &str = "{generate: [{key: apiKey, password: {}}], target: {form: Plain}}";

/// A control plane with a secret, a suspended `CronJob` and a schedule.
struct World {
    served: Served,
}

impl World {
    async fn start() -> Self {
        let served = Served::start(&[("shop", "rotator")]).await;
        let world = Self { served };
        let bed = world.bed();
        bed.apply_secret("shop", "db", GENERATED).await;
        bed.wait_ready("shop", "db").await;
        bed.apply(&cron_job("true")).await;
        bed.apply(&schedule("db", "db", STRATEGY)).await;
        wait_reason(bed, "db", "Scheduled").await;
        world
    }

    fn bed(&self) -> &Bed {
        &self.served.bed
    }

    async fn job(&self, step: &str, attempt: u32) -> Job {
        job(self.bed(), step, attempt).await
    }

    async fn end(&self, job: &Job, code: i32) {
        end(self.bed(), job, code).await;
    }

    async fn step(&self, step: &str) {
        let job = self.job(step, 1).await;
        self.end(&job, 0).await;
    }

    async fn key(&self) -> Vec<u8> {
        self.bed().value("shop", "db", "apiKey").await
    }
}

/// The Job of a step, once it is there. It is for the rotation that is under way.
async fn job(bed: &Bed, step: &str, attempt: u32) -> Job {
    let jobs: Api<Job> = Api::namespaced(bed.client.clone(), "shop");
    let what = format!("there is a Job for {step}, attempt {attempt}");
    let found = || async {
        let running = status(bed, "db").await.running?;
        let labels = format!(
            "keystead.dev/rotation-step={step},keystead.dev/rotation-version={}",
            running.version
        );
        let all = jobs.list(&ListParams::default().labels(&labels)).await;
        let mut all = all.unwrap().items.into_iter();
        all.find(|job| job.annotations()["keystead.dev/rotation-attempt"] == attempt.to_string())
    };
    eventually_within(PATIENCE, &what, || async { found().await.is_some() }).await;
    found().await.unwrap()
}

/// The pod of a Job, once the Job controller has made it.
async fn pod(bed: &Bed, job: &Job) -> Pod {
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "shop");
    let of_job = ListParams::default().labels(&format!("job-name={}", job.name_any()));
    let found = || async { pods.list(&of_job).await.unwrap().items.pop() };
    eventually_within(PATIENCE, "the Job has a pod", || async {
        found().await.is_some()
    })
    .await;
    found().await.unwrap()
}

/// Ends the pod of a Job as kubelet tells it.
async fn end(bed: &Bed, job: &Job, code: i32) {
    let pod = pod(bed, job).await;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), "shop");
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let now = "2026-01-01T00:00:00Z";
    let status = json!({"status": {"phase": phase, "containerStatuses": [{
        "name": "rotate", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "startedAt": now, "finishedAt": now}},
    }]}});
    let patch = Patch::Merge(&status);
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch)
        .await
        .expect("the pod ends");
}

fn cron_job(suspend: &str) -> String {
    format!(
        "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: rotate, namespace: shop}}\n\
         spec: {{suspend: {suspend}, schedule: \"@yearly\", jobTemplate: {{spec: {{template: {{spec: {{serviceAccountName: rotator, \
         restartPolicy: OnFailure, containers: [{{name: rotate, image: x}}]}}}}}}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_a_job_of_the_users_own_and_the_version_is_current_after_the_test() {
    let world = World::start().await;
    let bed = world.bed();
    let first = world.key().await;
    ask(bed, "db", "now").await;

    let create = world.job("create", 1).await;
    let template = create
        .spec
        .as_ref()
        .unwrap()
        .template
        .spec
        .as_ref()
        .unwrap();
    assert_eq!(template.service_account_name.as_deref(), Some("rotator"));
    let running = status(bed, "db").await.running.unwrap();
    assert_eq!(running.step.as_str(), "CreateSecret");
    assert_eq!(
        bed.versions("shop", "db").await.len(),
        1,
        "no value is made yet"
    );
    world.end(&create, 0).await;

    let set = world.job("set", 1).await;
    let versions = bed.versions("shop", "db").await;
    assert!(
        versions
            .iter()
            .any(|(id, stages)| *id == running.version && *stages == ["Pending"])
    );
    assert_eq!(world.key().await, first);
    world.end(&set, 0).await;
    world.step("test").await;

    let finish = world.job("finish", 1).await;
    let versions = bed.versions("shop", "db").await;
    assert_eq!(
        versions[0],
        (running.version.clone(), vec!["Current".to_owned()])
    );
    let status_now = status(bed, "db").await;
    assert_eq!(status_now.running.unwrap().step.as_str(), "FinishSecret");
    world.end(&finish, 0).await;
    wait_rotations(bed, "db", 1).await;
    assert_ne!(world.key().await, first);
    for reason in [
        "CreateSecret",
        "SetSecret",
        "TestSecret",
        "FinishSecret",
        "Rotated",
    ] {
        assert_eq!(bed.events("shop", "db", reason).await, 1, "{reason}");
    }
    // The Jobs are kept, and go with the schedule.
    let jobs: Api<Job> = Api::namespaced(bed.client.clone(), "shop");
    assert_eq!(
        jobs.list(&ListParams::default()).await.unwrap().items.len(),
        4
    );
    bed.delete("shop", "rotationschedule/db").await;
    eventually_within(PATIENCE, "the Jobs are gone", || async {
        jobs.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pod_of_a_job_puts_is_the_new_value_and_it_may_put_nothing_else() {
    let world = World::start().await;
    let bed = world.bed();
    ask(bed, "db", "now").await;
    let create = world.job("create", 1).await;
    let pod = pod(bed, &create).await;
    let token = world.served.bound_token("shop", "rotator", &pod).await;
    let calls = world.served.calls_with(token).await;
    let version = status(bed, "db").await.running.unwrap().version;

    // As functions of AWS look for it first.
    let asked = json!({"SecretId": "db"});
    let described = calls
        .call("secretsmanager.DescribeSecret", &asked)
        .await
        .ok();
    assert_eq!(described["RotationEnabled"], true);
    assert_eq!(
        described["VersionIdsToStages"][&version],
        json!(["AWSPENDING"])
    );
    let pending = json!({"SecretId": "db", "VersionId": version, "VersionStage": "AWSPENDING"});
    let none = calls.call("secretsmanager.GetSecretValue", &pending).await;
    assert_eq!(none.error(), "ResourceNotFoundException");

    let put = |token: &str, stage: &str| {
        json!({"SecretId": "db", "ClientRequestToken": token, "SecretString": "{\"apiKey\":\"made-there\"}",
               "VersionStages": [stage]})
    };
    let other = "00000000-0000-4000-8000-000000000001";
    for refused in [put(other, "AWSPENDING"), put(&version, "AWSCURRENT")] {
        let answer = calls.call("secretsmanager.PutSecretValue", &refused).await;
        assert_eq!(answer.error(), "InvalidRequestException", "{answer:?}");
    }
    let asked = put(&version, "AWSPENDING");
    calls
        .call("secretsmanager.PutSecretValue", &asked)
        .await
        .ok();
    calls
        .call("secretsmanager.PutSecretValue", &asked)
        .await
        .ok();
    let read = calls
        .call("secretsmanager.GetSecretValue", &pending)
        .await
        .ok();
    assert_eq!(read["SecretString"], "{\"apiKey\":\"made-there\"}");
    world.end(&create, 0).await;
    for step in ["set", "test", "finish"] {
        world.step(step).await;
    }
    wait_rotations(bed, "db", 1).await;
    bed.wait_value("shop", "db", "apiKey", b"made-there").await;
    // It is over: the pod's token gives nothing any more.
    let late = calls
        .call("secretsmanager.PutSecretValue", &put(other, "AWSCURRENT"))
        .await;
    assert_eq!(late.error(), "AccessDeniedException", "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_refused_has_another_in_its_place_and_a_failure_is_tried_again() {
    let world = World::start().await;
    let bed = world.bed();
    ask(bed, "db", "now").await;
    world.step("create").await;
    let first = world.job("set", 1).await;
    let version = status(bed, "db").await.running.unwrap().version;
    world.end(&first, 3).await;
    let failed = wait_reason(bed, "db", "RotationFailed").await;
    assert!(
        failed.contains("exit code 3") && failed.contains("kubectl logs -n shop job/"),
        "{failed}"
    );
    let second = world.job("set", 2).await;
    assert_eq!(
        status(bed, "db").await.running.unwrap().version,
        version,
        "the same value"
    );
    world.end(&second, 10).await;

    eventually_within(PATIENCE, "another value is made", || async {
        let running = status(bed, "db").await.running;
        running
            .is_some_and(|running| running.version != version && running.refused_values == Some(1))
    })
    .await;
    for step in ["create", "set", "test", "finish"] {
        world.step(step).await;
    }
    wait_rotations(bed, "db", 1).await;
    assert_eq!(bed.events("shop", "db", "ValueRefused").await, 1);
    assert_eq!(bed.events("shop", "db", "RotationCancelled").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_while_a_job_runs_finds_it_and_makes_no_second_one() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    let _server = bed.server().await;
    bed.apply(SERVICE_ACCOUNT).await;
    bed.apply_secret("shop", "db", GENERATED).await;
    bed.wait_ready("shop", "db").await;
    bed.apply(&cron_job("true")).await;
    bed.apply(&schedule("db", "db", STRATEGY)).await;
    wait_reason(&bed, "db", "Scheduled").await;
    ask(&bed, "db", "now").await;
    let mut operator = operator;
    for step in ["create", "set", "test", "finish"] {
        let job = job(&bed, step, 1).await;
        operator.kill().await;
        // It ends while nobody looks.
        end(&bed, &job, 0).await;
        operator = bed.operator().await;
    }
    wait_rotations(&bed, "db", 1).await;
    let jobs: Api<Job> = Api::namespaced(bed.client.clone(), "shop");
    let all = jobs.list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.len(), 4);
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_deleted_in_the_midst_of_a_rotation_goes_on_with_it_when_it_is_applied_again()
 {
    let world = World::start().await;
    let bed = world.bed();
    let first = world.key().await;
    ask(bed, "db", "now").await;
    world.step("create").await;
    world.job("set", 1).await;
    let version = status(bed, "db").await.running.unwrap().version;
    let doctor = || async { bed.plugin(&["doctor", "-n", "shop", "-v"]).await.out };
    let fine = "ok        pending values: every value that is to become current has its schedule";
    let told = doctor().await;
    assert!(told.contains(fine), "{told}");

    bed.delete("shop", "rotationschedule/db").await;
    let told = doctor().await;
    assert!(told.contains("warning   pending values: "), "{told}");
    assert!(told.contains("only pending: shop/db\n"), "{told}");
    // Nobody reads what may not be right yet.
    assert_eq!(world.key().await, first);

    bed.apply(&schedule("db", "db", STRATEGY)).await;
    for step in ["set", "test", "finish"] {
        world.step(step).await;
    }
    wait_rotations(bed, "db", 1).await;
    assert_eq!(status(bed, "db").await.history[0].version, version);
    assert_ne!(world.key().await, first);
    let told = doctor().await;
    assert!(told.contains(fine), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_cancelled_waits_for_the_job_that_runs_and_calls_no_other() {
    let world = World::start().await;
    let bed = world.bed();
    let first = world.key().await;
    ask(bed, "db", "now").await;
    world.step("create").await;
    let set = world.job("set", 1).await;
    let version = status(bed, "db").await.running.unwrap().version;
    let cancel = json!({"metadata": {"annotations": {"keystead.dev/cancel-rotation": version}}});
    bed.patch("shop", "rotationschedule/db", &cancel).await;
    // The other side may be told as long as the pod runs.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let running = status(bed, "db").await.running.expect("it waits");
    assert_eq!(running.job.as_deref(), Some(set.name_any().as_str()));
    world.end(&set, 0).await;
    wait_rotations(bed, "db", 1).await;
    assert_eq!(status(bed, "db").await.history[0].cancelled, Some(true));
    let jobs: Api<Job> = Api::namespaced(bed.client.clone(), "shop");
    let all = jobs.list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.len(), 2, "nothing was tried");
    assert_eq!(world.key().await, first);
    let versions = bed.versions("shop", "db").await;
    assert!(versions.iter().all(|(_, stages)| *stages != ["Pending"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused_with_the_remedy_and_goes_on_when_it_is_mended() {
    let world = World::start().await;
    let bed = world.bed();
    bed.delete("shop", "cronjob/rotate").await;
    ask(bed, "db", "now").await;
    let missing = wait_reason(bed, "db", "RotationRejected").await;
    assert!(
        missing.contains("CronJob rotate does not exist"),
        "{missing}"
    );
    bed.apply(&cron_job("false")).await;
    eventually_within(PATIENCE, "it says to suspend it", || async {
        ready(bed, "db").await.1.contains("spec.suspend to true")
    })
    .await;
    // What the API server refuses is told in its words.
    bed.apply(
        "{apiVersion: v1, kind: ResourceQuota, metadata: {name: jobs, namespace: shop}, spec: {hard: {count/jobs.batch: \"0\"}}}",
    )
    .await;
    let quotas: Api<ResourceQuota> = Api::namespaced(bed.client.clone(), "shop");
    eventually_within(PATIENCE, "the quota is in force", || async {
        let quota = quotas.get("jobs").await.unwrap();
        quota.status.is_some_and(|status| status.hard.is_some())
    })
    .await;
    bed.apply(&cron_job("true")).await;
    eventually_within(PATIENCE, "it says what is refused", || async {
        let message = ready(bed, "db").await.1;
        message.contains("the Job is refused") && message.contains("exceeded quota: jobs")
    })
    .await;
    bed.delete("shop", "resourcequota/jobs").await;
    for step in ["create", "set", "test", "finish"] {
        world.step(step).await;
    }
    wait_rotations(bed, "db", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_the_test_alone_on_the_current_version_and_only_when_asked() {
    let world = World::start().await;
    let bed = world.bed();
    let jobs: Api<Job> = Api::namespaced(bed.client.clone(), "shop");
    let patch = json!({"metadata": {"annotations": {"keystead.dev/test-rotation": "one"}}});
    bed.patch("shop", "rotationschedule/db", &patch).await;
    let found = || async { jobs.list(&ListParams::default()).await.unwrap().items };
    eventually_within(PATIENCE, "there is a Job", || async {
        !found().await.is_empty()
    })
    .await;
    let job = found().await.remove(0);
    let container = &job
        .spec
        .as_ref()
        .unwrap()
        .template
        .spec
        .as_ref()
        .unwrap()
        .containers[0];
    let env: Vec<_> = container.env.iter().flatten().collect();
    let value = |name: &str| {
        env.iter()
            .find(|it| it.name == name)
            .and_then(|it| it.value.clone())
    };
    assert_eq!(value("KEYSTEAD_STEP").as_deref(), Some("TestSecret"));
    assert_eq!(value("KEYSTEAD_CHECK").as_deref(), Some("true"));
    let current = bed.versions("shop", "db").await.remove(0).0;
    assert_eq!(value("KEYSTEAD_VERSION"), Some(current));
    assert!(status(bed, "db").await.running.is_none());
    world.end(&job, 0).await;
    eventually_within(PATIENCE, "the check passed", || async {
        let check = status(bed, "db").await.check;
        check.is_some_and(|check| {
            check.result.as_str() == "Passed" && check.token.as_deref() == Some("one")
        })
    })
    .await;
    assert_eq!(bed.versions("shop", "db").await.len(), 1);
    assert_eq!(found().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_code_run_who_may_not_run_it_himself_nor_calls_signed_by_a_key_that_he_may_not_read()
 {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let (ann, bob) = (Person::new(&bed, "ann"), Person::new(&bed, "bob"));
    let author = "{apiGroups: [keystead.dev], resources: [rotationschedules], verbs: [create, get, patch]}, \
                  {apiGroups: [keystead.dev], resources: [managedsecrets/value], resourceNames: [db], verbs: [get, put]}";
    ann.grant("shop", "author", &format!("[{author}]")).await;
    let more = "{apiGroups: [batch], resources: [jobs], verbs: [create]}, \
                {apiGroups: [keystead.dev], resources: [managedsecrets/value], resourceNames: [signing], verbs: [get]}";
    bob.grant("shop", "author-with-more", &format!("[{author}, {more}]"))
        .await;
    bob.can(&["create", "jobs", "-n", "shop"]).await;
    let webhook = "strategy: {webhook: {url: \"https://a.shop.svc/\", caBundle: AAAA, signingSecretRef: {name: signing}}}";
    let refused = ann.refused(&schedule("db", "db", STRATEGY)).await;
    assert!(refused.contains("needs create on jobs.batch"), "{refused}");
    let refused = ann.refused(&schedule("db", "db", webhook)).await;
    assert!(
        refused.contains("ManagedSecret shop/signing, by whose key calls are signed"),
        "{refused}"
    );
    bob.allowed(&schedule("db", "db", STRATEGY)).await;
    bob.allowed(&schedule("other", "db", webhook)).await;
}

/// The operator may make Jobs, and for that reason only those of schedules.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_right_to_make_jobs_is_one_for_rotations_only() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let operator = Person::new(&bed, crate::support::OPERATOR_USER);
    operator.can(&["create", "jobs", "-n", "shop"]).await;
    let job = |labels: &str, owners: &str| {
        format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: mine, namespace: shop{labels}{owners}}}, spec: {{template: {{spec: \
             {{restartPolicy: Never, containers: [{{name: a, image: a}}]}}}}}}}}"
        )
    };
    let labels = ", labels: {keystead.dev/rotation-version: 00000000-0000-4000-8000-000000000001}";
    let owner = |kind: &str, group: &str| {
        format!(
            ", ownerReferences: [{{apiVersion: {group}, kind: {kind}, name: a, uid: a, controller: true}}]"
        )
    };
    for refused in [
        job("", ""),
        job(labels, ""),
        job("", &owner("RotationSchedule", "keystead.dev/v1alpha1")),
        job(labels, &owner("CronJob", "batch/v1")),
    ] {
        let printed = operator
            .kubectl_with(&["create", "-f", "-"], &refused)
            .await;
        let printed = printed.expect_refused();
        assert!(
            printed.contains("only Jobs that a RotationSchedule controls"),
            "{printed}"
        );
    }
}
