//! Rotation of secrets by `RotationSchedule`: when, how often, by whom, and what a kill or another schedule changes of that.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use keystead::api::{ManagedSecret, RotationSchedule, RotationScheduleStatus};
use keystead::truth::truth_name;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::support::{
    Bed, Operator, Person, SYSTEM, eventually, eventually_within, managed_secret,
};

const PATIENCE: Duration = Duration::from_secs(120);
const SECRET: &str =
    "{generate: [{key: password, password: {}}], literals: {username: app}, target: {form: Plain}}";

/// The manifest of a schedule; `spec` is the inside of a YAML flow mapping.
pub(crate) fn schedule(name: &str, secret: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: RotationSchedule\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{secretRef: {{name: {secret}}}, jitter: 0s, {spec}}}\n"
    )
}

/// What says in metadata that a schedule controls an object. The schedule rotates nothing.
pub(crate) async fn owned(bed: &Bed) -> String {
    let idle = schedule("idle", "not-there", "strategy: {regenerate: {}}");
    bed.apply(&idle).await;
    let schedules: Api<RotationSchedule> = Api::namespaced(bed.client.clone(), "shop");
    let found = schedules.get("idle").await.expect("the schedule is there");
    format!(
        "ownerReferences: [{{apiVersion: keystead.dev/v1alpha1, kind: RotationSchedule, name: idle, uid: {}, controller: true}}]",
        found.metadata.uid.unwrap()
    )
}

pub(crate) async fn status(bed: &Bed, name: &str) -> RotationScheduleStatus {
    let schedules: Api<RotationSchedule> = Api::namespaced(bed.client.clone(), "shop");
    let found = schedules.get(name).await.expect("the schedule is there");
    found.status.unwrap_or_default()
}

/// Reason and message of its `Ready`.
pub(crate) async fn ready(bed: &Bed, name: &str) -> (String, String) {
    let status = status(bed, name).await;
    let mut conditions = status.conditions.into_iter();
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    ready.map(|it| (it.reason, it.message)).unwrap_or_default()
}

pub(crate) async fn wait_reason(bed: &Bed, name: &str, reason: &str) -> String {
    let what = format!("RotationSchedule {name} says {reason}");
    eventually_within(PATIENCE, &what, || async {
        ready(bed, name).await.0 == reason
    })
    .await;
    ready(bed, name).await.1
}

/// Waits until so many rotations have ended and none is under way.
pub(crate) async fn wait_rotations(bed: &Bed, name: &str, count: usize) {
    let what = format!("RotationSchedule {name} has {count} rotations behind it");
    eventually_within(PATIENCE, &what, || async {
        let status = status(bed, name).await;
        status.history.len() >= count && status.running.is_none()
    })
    .await;
    assert_eq!(status(bed, name).await.history.len(), count);
}

pub(crate) async fn ask(bed: &Bed, name: &str, token: &str) {
    let patch = json!({"metadata": {"annotations": {"keystead.dev/rotate": token}}});
    bed.patch("shop", &format!("rotationschedule/{name}"), &patch)
        .await;
}

async fn password(bed: &Bed) -> Vec<u8> {
    bed.value("shop", "db", "password").await
}

async fn started(bed: &Bed, spec: &str) -> Operator {
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    bed.apply_secret("shop", "db", SECRET).await;
    bed.wait_ready("shop", "db").await;
    bed.apply(&schedule("db", "db", spec)).await;
    wait_reason(bed, "db", "Scheduled").await;
    operator
}

/// Sets the clocks of the operators to that time.
fn set_time(bed: &Bed, time: &str) {
    let time: Timestamp = time.parse().unwrap();
    bed.set_clock(time.as_second() - Timestamp::now().as_second());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_when_asked_once_for_each_token_and_keeps_the_value_before() {
    let bed = Bed::start().await;
    let operator = started(&bed, "strategy: {regenerate: {}}").await;
    let first = password(&bed).await;
    let versions = bed.versions("shop", "db").await;
    assert_eq!(versions.len(), 1, "a new schedule rotates nothing");

    ask(&bed, "db", "leak-of-monday").await;
    wait_rotations(&bed, "db", 1).await;
    let now = bed.versions("shop", "db").await;
    assert_eq!(now[0].1, ["Current"]);
    assert_eq!(now[1], (versions[0].0.clone(), vec!["Previous".to_owned()]));
    eventually("the new value is delivered", || async {
        password(&bed).await != first
    })
    .await;
    assert_eq!(bed.value("shop", "db", "username").await, b"app");
    let past = status(&bed, "db").await.history.remove(0);
    assert_eq!(past.version, now[0].0);
    assert_eq!(past.stalled, None);
    assert_eq!(
        bed.events("shop", "db", "DriftRepaired").await,
        0,
        "it is no drift"
    );

    // The annotation stays, as it would in Git; neither a restart nor making the schedule anew obeys it again.
    let second = password(&bed).await;
    operator.kill().await;
    let _operator = bed.operator().await;
    bed.delete("shop", "rotationschedule/db").await;
    let again = schedule("db", "db", "strategy: {regenerate: {}}").replace(
        "namespace: shop}",
        "namespace: shop, annotations: {keystead.dev/rotate: leak-of-monday}}",
    );
    bed.apply(&again).await;
    wait_reason(&bed, "db", "Scheduled").await;
    assert_eq!(status(&bed, "db").await.history.len(), 1);
    assert_eq!(password(&bed).await, second);
    // An operator that starts does not take what it has not listed yet for gone.
    assert_eq!(bed.events("shop", "db", "SecretNotFound").await, 0);
    // At rest nothing is written.
    let states = || async {
        let schedules: Api<RotationSchedule> = Api::namespaced(bed.client.clone(), "shop");
        let schedule = schedules.get("db").await.unwrap();
        let truth = bed.state_of(SYSTEM, &truth_name("shop", "db")).await;
        (schedule.metadata.resource_version, truth)
    };
    let before = states().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(states().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_of_a_schedule_is_one_rotation_whatever_is_killed_around_it() {
    let bed = Bed::start().await;
    set_time(&bed, "2031-05-01T01:50:00Z");
    let spec = "schedule: {cron: \"0 2 * * *\", timeZone: UTC}, strategy: {regenerate: {}}";
    let mut operator = started(&bed, spec).await;
    let told = status(&bed, "db").await;
    let next: Vec<_> = told.next_runs.iter().map(|run| run.0.to_string()).collect();
    assert_eq!(
        next,
        [
            "2031-05-01T02:00:00Z",
            "2031-05-02T02:00:00Z",
            "2031-05-03T02:00:00Z"
        ]
    );
    assert_eq!(told.next_rotation_time.unwrap().0.to_string(), next[0]);
    // Away at the time itself, and back after it.
    operator.kill().await;
    set_time(&bed, "2031-05-01T02:10:00Z");
    operator = bed.operator().await;
    wait_rotations(&bed, "db", 1).await;
    // Killed just before, in the midst of it, and just after.
    for (rotations, day, millis) in [(2, 2, 0), (3, 3, 300), (4, 4, 1500)] {
        set_time(&bed, &format!("2031-05-0{day}T01:59:58Z"));
        eventually("it is seen that another day has come", || async {
            let next = status(&bed, "db").await.next_rotation_time;
            next.is_some_and(|next| next.0.to_string() >= format!("2031-05-0{day}T02:00:00Z"))
        })
        .await;
        tokio::time::sleep(Duration::from_millis(1900 + millis)).await;
        operator.kill().await;
        operator = bed.operator().await;
        wait_rotations(&bed, "db", rotations).await;
    }
    // A clock that goes back an hour rotates nothing again, nor does the next leader.
    set_time(&bed, "2031-05-04T01:30:00Z");
    operator.kill().await;
    let _operator = bed.operator().await;
    set_time(&bed, "2031-05-04T02:30:00Z");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(status(&bed, "db").await.history.len(), 4);
    assert_eq!(bed.versions("shop", "db").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_whose_windows_are_over_wait_for_the_next_and_are_counted() {
    let bed = Bed::start().await;
    set_time(&bed, "2031-05-01T12:00:00Z");
    let spec =
        "schedule: {cron: \"0 2 * * *\"}, window: 1h, suspend: true, strategy: {regenerate: {}}";
    let _operator = started(&bed, spec).await;
    set_time(&bed, "2031-05-04T12:00:00Z");
    let on = json!({"spec": {"suspend": false}});
    bed.patch("shop", "rotationschedule/db", &on).await;
    eventually("the next time is told", || async {
        let next = status(&bed, "db").await.next_rotation_time;
        next.is_some_and(|next| next.0.to_string() == "2031-05-05T02:00:00Z")
    })
    .await;
    assert_eq!(bed.versions("shop", "db").await.len(), 1);
    set_time(&bed, "2031-05-05T02:20:00Z");
    wait_rotations(&bed, "db", 1).await;
    assert_eq!(status(&bed, "db").await.missed, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_that_are_killed_again_and_again_do_each_rotation_exactly_once() {
    let bed = Bed::start().await;
    let mut operator = started(&bed, "strategy: {regenerate: {}}").await;
    let mut seen = vec![password(&bed).await];
    for round in 0..8_u64 {
        ask(&bed, "db", &format!("round-{round}")).await;
        // At another point each time, between the request and its end.
        tokio::time::sleep(Duration::from_millis(round * 45)).await;
        operator.kill().await;
        operator = bed.operator().await;
        let count = usize::try_from(round).unwrap() + 1;
        wait_rotations(&bed, "db", count).await;
        bed.wait_ready("shop", "db").await;
        let value = password(&bed).await;
        assert!(!seen.contains(&value), "round {round}");
        seen.push(value);
        let stages: Vec<_> = bed.versions("shop", "db").await;
        assert!(
            stages
                .iter()
                .all(|(_, stages)| !stages.contains(&"Pending".to_owned())),
            "{stages:?}"
        );
    }
    assert_eq!(bed.versions("shop", "db").await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_schedules_of_a_secret_the_older_is_obeyed_and_the_other_says_so() {
    let bed = Bed::start().await;
    let _operator = started(&bed, "strategy: {regenerate: {}}").await;
    // Times of creation are whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bed.apply(&schedule("other", "db", "strategy: {regenerate: {}}"))
        .await;
    let message = wait_reason(&bed, "other", "Conflict").await;
    assert!(message.contains("RotationSchedule db"), "{message}");
    ask(&bed, "other", "now").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bed.versions("shop", "db").await.len(), 1);
    bed.delete("shop", "rotationschedule/db").await;
    // It is looked at again when the secret is, or after a few minutes.
    bed.patch(
        "shop",
        "managedsecret/db",
        &json!({"metadata": {"annotations": {"a": "b"}}}),
    )
    .await;
    wait_rotations(&bed, "other", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_read_and_put_the_value_has_no_schedule_and_bad_ones_are_refused() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let ann = Person::new(&bed, "ann");
    let rule = "[{apiGroups: [keystead.dev], resources: [rotationschedules, managedsecrets], verbs: [get, list, create, update, patch, delete]}]";
    ann.grant("shop", "author", rule).await;
    ann.can(&["create", "rotationschedules", "-n", "shop"])
        .await;
    bed.policies_in_force().await;
    let plain = schedule("db", "db", "strategy: {regenerate: {}}");
    let admin = schedule(
        "db",
        "db",
        "strategy: {postgres: {users: Alternating, adminSecretRef: {name: pg-admin}}}",
    );
    let message = ann.refused(&plain).await;
    assert!(message.contains("managedsecrets/value"), "{message}");
    assert!(message.contains("shop/db"), "{message}");
    let own = "[{apiGroups: [keystead.dev], resources: [managedsecrets/value], resourceNames: [db], verbs: [get, put]}]";
    ann.grant("shop", "own", own).await;
    ann.can(&[
        "put",
        "managedsecrets/db",
        "--subresource=value",
        "-n",
        "shop",
    ])
    .await;
    ann.allowed(&plain).await;
    let message = ann.refused(&admin).await;
    assert!(message.contains("shop/pg-admin"), "{message}");
    for (spec, word) in [
        ("strategy: {}", "exactly one strategy"),
        (
            "strategy: {regenerate: {}, postgres: {users: Single}}",
            "exactly one strategy",
        ),
        (
            "strategy: {postgres: {users: Alternating}}",
            "adminSecretRef",
        ),
        (
            "schedule: {every: 10m}, strategy: {regenerate: {}}",
            "from 1h to 87600h",
        ),
        (
            "schedule: {every: 24h, cron: \"0 2 * * *\"}, strategy: {regenerate: {}}",
            "exactly one of every and cron",
        ),
        (
            "schedule: {cron: \"*/1 * * * * *\"}, strategy: {regenerate: {}}",
            "spec.schedule.cron",
        ),
        (
            "schedule: {every: 24h, timeZone: UTC}, strategy: {regenerate: {}}",
            "timeZone",
        ),
        ("window: 200h, strategy: {regenerate: {}}", "1m to 168h"),
    ] {
        let refused = bed
            .kubectl_with(&["apply", "-f", "-"], &schedule("bad", "db", spec))
            .await
            .expect_refused();
        assert!(refused.contains(word), "{spec}: {refused}");
    }
    let moved = schedule("db", "other", "strategy: {regenerate: {}}");
    let refused = bed
        .kubectl_with(&["apply", "-f", "-"], &moved)
        .await
        .expect_refused();
    assert!(refused.contains("secretRef is immutable"), "{refused}");
    // What the schema cannot see is said by the condition.
    let _operator = bed.operator().await;
    bed.apply(&managed_secret("shop", "db", SECRET)).await;
    let never = schedule(
        "never",
        "db",
        "schedule: {cron: \"0 0 31 2 *\"}, strategy: {regenerate: {}}",
    );
    bed.delete("shop", "rotationschedule/db").await;
    bed.apply(&never).await;
    let message = wait_reason(&bed, "never", "InvalidSpec").await;
    assert!(message.contains("never comes"), "{message}");
}

/// With a clock that is moved, every schedule is looked at each second: more of them would keep the operator busy with that.
const MANY: usize = 60;

/// Makes secrets and a schedule for each, at the same time of the day.
async fn make_many(bed: &Bed, count: usize, cron: &str) {
    let secrets: Api<ManagedSecret> = Api::namespaced(bed.client.clone(), "shop");
    let schedules: Api<RotationSchedule> = Api::namespaced(bed.client.clone(), "shop");
    let object = |kind: &str, name: &str, spec: &Value| {
        json!({"apiVersion": "keystead.dev/v1alpha1", "kind": kind,
            "metadata": {"namespace": "shop", "name": name}, "spec": spec})
    };
    let made = stream::iter(0..count).map(|number| {
        let name = format!("s{number}");
        let secret = json!({"generate": [{"key": "token", "hex": {"length": 16}}], "target": {"form": "None"}});
        let schedule = json!({"secretRef": {"name": name}, "schedule": {"cron": cron}, "strategy": {"regenerate": {}}});
        let secret = serde_json::from_value(object("ManagedSecret", &name, &secret));
        let schedule = serde_json::from_value(object("RotationSchedule", &name, &schedule));
        let (secrets, schedules) = (&secrets, &schedules);
        async move {
            let params = PostParams::default();
            secrets.create(&params, &secret.expect("it is a secret")).await?;
            schedules.create(&params, &schedule.expect("it is a schedule")).await
        }
    });
    let made: Vec<_> = made
        .buffer_unordered(8)
        .try_collect()
        .await
        .expect("they are made");
    assert_eq!(made.len(), count);
}

async fn statuses(bed: &Bed) -> Vec<RotationScheduleStatus> {
    let schedules: Api<RotationSchedule> = Api::namespaced(bed.client.clone(), "shop");
    let list = schedules
        .list(&ListParams::default())
        .await
        .expect("the API server answers");
    list.items
        .into_iter()
        .filter_map(|schedule| schedule.status)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_schedules_of_one_minute_spread_out_and_come_to_their_end() {
    let bed = Bed::start().await;
    set_time(&bed, "2031-05-01T01:00:00Z");
    bed.namespace("shop").await;
    let _operator = bed.operator().await;
    make_many(&bed, MANY, "0 2 * * *").await;
    let patience = Duration::from_secs(300);
    eventually_within(patience, "every schedule is obeyed", || async {
        let all = statuses(&bed).await;
        all.len() == MANY && all.iter().all(|status| status.next_rotation_time.is_some())
    })
    .await;
    // Nobody begins before the time, or later than five minutes after it, and no ten seconds have more than their share.
    let time: Timestamp = "2031-05-01T02:00:00Z".parse().unwrap();
    let mut shares = [0; 30];
    for status in statuses(&bed).await {
        let late = status.next_rotation_time.unwrap().0.duration_since(time);
        let share = usize::try_from(late.as_secs() / 10).expect("none begins early");
        shares[share.min(29)] += 1;
        assert!(late.as_secs() <= 300, "{late}");
    }
    assert!(shares.iter().all(|share| *share < MANY / 6), "{shares:?}");
    // All of them are due when the operator comes to it.
    set_time(&bed, "2031-05-01T02:05:05Z");
    eventually_within(patience, "every secret is rotated", || async {
        let all = statuses(&bed).await;
        all.iter()
            .all(|status| status.running.is_none() && !status.history.is_empty())
    })
    .await;
    let all = statuses(&bed).await;
    assert!(
        all.iter()
            .all(|status| status.history.len() == 1 && status.missed.is_none())
    );
    let secrets: Api<ManagedSecret> = Api::namespaced(bed.client.clone(), "shop");
    let secrets = secrets.list(&ListParams::default()).await.unwrap();
    let versions = secrets
        .iter()
        .map(|secret| secret.status.as_ref().map_or(0, |it| it.versions.len()));
    assert_eq!(versions.filter(|versions| *versions == 2).count(), MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_clock_alone_that_is_put_forward_rotates_nothing() {
    let bed = Bed::start().await;
    let _operator = started(&bed, "schedule: {every: 24h}, strategy: {regenerate: {}}").await;
    let first = password(&bed).await;
    let (day, hour) = (24 * 3600, 3600);
    bed.set_clocks(day + hour, 0);
    let busy = bed.events("shop", "db", "CreateSecret").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(busy, 0);
    assert_eq!(bed.events("shop", "db", "CreateSecret").await, 0);
    assert_eq!(password(&bed).await, first);
    bed.set_clocks(day + hour, day + hour);
    wait_rotations(&bed, "db", 1).await;
}

/// In real time, with nobody who moves a clock: `cargo test --test integration a_thousand -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a quarter of an hour"]
async fn a_thousand_schedules_of_one_minute_spread_out_and_finish() {
    const COUNT: usize = 1000;
    let bed = Bed::start().await;
    bed.leave_clocks();
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    let time = Timestamp::now() + SignedDuration::from_mins(4);
    let minute = time.as_second().div_euclid(60);
    let cron = format!("{} {} * * *", minute % 60, minute / 60 % 24);
    let time = Timestamp::from_second(minute * 60).unwrap();
    make_many(&bed, COUNT, &cron).await;
    let patience = Duration::from_secs(1200);
    eventually_within(patience, "every schedule is obeyed", || async {
        let all = statuses(&bed).await;
        all.len() == COUNT && all.iter().all(|status| status.next_rotation_time.is_some())
    })
    .await;
    let planned: Vec<_> = statuses(&bed).await;
    assert!(Timestamp::now() < time, "they were made in time");
    let before = operator.processor_time();
    eventually_within(patience, "every secret is rotated", || async {
        let all = statuses(&bed).await;
        let ended = |status: &RotationScheduleStatus| {
            status.running.is_none() && !status.history.is_empty()
        };
        all.iter().all(ended)
    })
    .await;
    let all = statuses(&bed).await;
    assert!(
        all.iter()
            .all(|status| status.history.len() == 1 && status.missed.is_none())
    );
    let begun = |status: &RotationScheduleStatus| status.history[0].begun.0;
    let (first, last) = (all.iter().map(begun).min(), all.iter().map(begun).max());
    let (first, last) = (
        first.unwrap().duration_since(time),
        last.unwrap().duration_since(time),
    );
    assert!(first.as_secs() >= 0, "nobody begins before the time");
    let mut lengths: Vec<_> = all
        .iter()
        .map(|status| {
            status.history[0]
                .ended
                .0
                .duration_since(begun(status))
                .as_secs()
        })
        .collect();
    lengths.sort_unstable();
    println!(
        "{COUNT} schedules of one minute: begun {} to {} s after it, planned up to {} s; took {} s in the middle and {} s at most; \
         {:.1} s of processor time; {} MiB at most",
        first.as_secs(),
        last.as_secs(),
        planned
            .iter()
            .map(|status| status
                .next_rotation_time
                .as_ref()
                .unwrap()
                .0
                .duration_since(time)
                .as_secs())
            .max()
            .unwrap(),
        lengths[COUNT / 2],
        lengths[COUNT - 1],
        operator.processor_time() - before,
        operator.peak_memory() / 1024,
    );
}
