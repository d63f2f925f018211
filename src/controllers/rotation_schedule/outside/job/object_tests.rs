use serde_json::{Value, json};

use super::*;
use crate::secrets::VersionId;

const VERSION: &str = "12345678-0000-4000-8000-000000000001";

fn schedule() -> RotationSchedule {
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "RotationSchedule",
        "metadata": {"namespace": "shop", "name": "weekly", "uid": "s-1"},
        "spec": {"secretRef": {"name": "api-key"}, "strategy": {"regenerate": {}}},
    }))
    .unwrap()
}

fn cron(suspend: bool, pod: &Value) -> CronJob {
    serde_json::from_value(json!({
        "metadata": {"name": "rotate-api-key", "namespace": "shop"},
        "spec": {
            "schedule": "@yearly", "suspend": suspend,
            "jobTemplate": {
                "metadata": {"labels": {"team": "shop", LABEL_ROTATION_VERSION: "forged"}},
                "spec": {
                    "activeDeadlineSeconds": 30, "backoffLimit": 6, "ttlSecondsAfterFinished": 1,
                    "template": {"metadata": {"annotations": {"a": "b"}}, "spec": pod},
                },
            },
        },
    }))
    .unwrap()
}

fn usual() -> Value {
    json!({
        "serviceAccountName": "rotator", "restartPolicy": "OnFailure",
        "initContainers": [{"name": "prepare", "image": "x"}],
        "containers": [{
            "name": "rotate", "image": "x",
            "env": [{"name": "KEYSTEAD_STEP", "value": "mine"}, {"name": "OWN", "value": "1"}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        }],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    })
}

fn made(step: RotationStep, check: Option<&str>, cron: &CronJob) -> Result<Job, String> {
    let version: VersionId = VERSION.parse().unwrap();
    let call = Call {
        step,
        version: &version,
        check,
    };
    let (name, schedule) = (Name::of("rotate-api-key", call), schedule());
    let making = Making {
        schedule: &schedule,
        secret: "api-key".to_owned(),
        name: name.with(2),
        step: name.step(),
        attempt: 2,
        call,
        server: "https://keystead-server.keystead-system.svc:8443".to_owned(),
        authority: "PEM".to_owned(),
    };
    making.job(cron)
}

#[test]
fn a_job_is_the_users_own_with_what_the_code_gets() {
    let job = made(RotationStep::SetSecret, None, &cron(true, &usual())).unwrap();
    assert_eq!(job.name_any(), "rotate-api-key-12345678-set-2");
    let labels = job.labels();
    assert_eq!(
        (&*labels["team"], &*labels[LABEL_ROTATION_VERSION]),
        ("shop", VERSION)
    );
    let owner = &job.owner_references()[0];
    assert_eq!(
        (&*owner.kind, &*owner.uid, owner.controller),
        ("RotationSchedule", "s-1", Some(true))
    );
    let spec = job.spec.unwrap();
    assert_eq!(
        (spec.backoff_limit, spec.active_deadline_seconds),
        (Some(0), Some(30))
    );
    assert_eq!(
        spec.ttl_seconds_after_finished, None,
        "it says that the step is done"
    );
    let template = spec.template;
    let meta = template.metadata.unwrap();
    assert_eq!(meta.labels.unwrap()[LABEL_ROTATION_VERSION], VERSION);
    assert_eq!(meta.annotations.unwrap()[ANNOTATION_API_AUTHORITY], "PEM");
    let pod = template.spec.unwrap();
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!(pod.service_account_name.as_deref(), Some("rotator"));
    let all = pod.init_containers.iter().flatten().chain(&pod.containers);
    for container in all {
        let env = container.env.as_ref().unwrap();
        let value = |name: &str| {
            let all: Vec<_> = env.iter().filter(|it| it.name == name).collect();
            assert_eq!(all.len(), 1, "{name}");
            all[0].value.clone().unwrap()
        };
        assert_eq!(value("KEYSTEAD_STEP"), "SetSecret");
        assert_eq!(value("KEYSTEAD_SECRET"), "api-key");
        assert_eq!(value("KEYSTEAD_VERSION"), VERSION);
        assert_eq!(value("KEYSTEAD_CA_FILE"), "/keystead/api/ca.crt");
        let mounts = container.volume_mounts.as_ref().unwrap();
        for folder in ["current", "pending", "previous", "api"] {
            let path = format!("/keystead/{folder}");
            assert!(
                mounts.iter().any(|mount| mount.mount_path == path),
                "{path}"
            );
        }
    }
}

fn stages(job: Job) -> Vec<String> {
    let volumes = job.spec.unwrap().template.spec.unwrap().volumes.unwrap();
    let csi = volumes
        .into_iter()
        .filter_map(|volume| Some((volume.name, volume.csi?)));
    let said = csi.map(|(name, csi)| {
        let attributes = csi.volume_attributes.unwrap();
        assert_eq!(attributes["secret"], "api-key");
        format!("{name}={}", attributes["stage"])
    });
    said.collect()
}

#[test]
fn each_step_is_given_the_version_that_it_is_about() {
    let cron = cron(true, &usual());
    let of = |step, check| stages(made(step, check, &cron).unwrap());
    let under_way = [
        "keystead-current=Current",
        "keystead-pending=Pending",
        "keystead-previous=Previous",
    ];
    assert_eq!(of(RotationStep::CreateSecret, None), under_way);
    assert_eq!(of(RotationStep::TestSecret, None), under_way);
    let current = [
        "keystead-current=Current",
        "keystead-pending=Current",
        "keystead-previous=Previous",
    ];
    assert_eq!(of(RotationStep::FinishSecret, None), current);
    assert_eq!(of(RotationStep::TestSecret, Some("token")), current);
}

#[test]
fn what_the_volumes_say_is_what_the_node_plugin_takes() {
    let job = made(RotationStep::CreateSecret, None, &cron(true, &usual())).unwrap();
    let pod = job.spec.unwrap().template.spec.unwrap();
    let requests: Vec<_> = crate::api::VolumeRequest::all_of(&pod).collect();
    assert_eq!(requests.len(), 3);
    assert!(
        requests
            .iter()
            .all(|request| request.secrets() == std::collections::BTreeSet::from(["api-key"]))
    );
}

#[test]
fn a_cron_job_that_cannot_be_used_is_refused_with_the_remedy() {
    let refused = |suspend, change: &dyn Fn(&mut Value)| {
        let mut pod = usual();
        change(&mut pod);
        made(RotationStep::SetSecret, None, &cron(suspend, &pod)).unwrap_err()
    };
    assert!(refused(false, &|_| {}).contains("set its spec.suspend to true"));
    let volume = refused(true, &|pod| {
        pod["volumes"][0]["name"] = json!("keystead-current");
    });
    assert!(volume.contains("rename it"), "{volume}");
    let mount = refused(true, &|pod| {
        pod["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/keystead/x");
    });
    assert!(
        mount.contains("container rotate mounts something at /keystead/x"),
        "{mount}"
    );
}

#[test]
fn names_are_labels_whatever_the_cron_job_is_called_and_another_check_is_another_job() {
    let version: VersionId = VERSION.parse().unwrap();
    let name = |cron: &str, check| {
        let call = Call {
            step: RotationStep::TestSecret,
            version: &version,
            check,
        };
        Name::of(cron, call).with(u32::MAX)
    };
    let long = "a".repeat(27) + "-b" + &"c".repeat(21);
    let name_of_long = name(&long, Some("x"));
    assert!(
        name_of_long.len() <= 63 && name_of_long.starts_with(&("a".repeat(27) + "-1234")),
        "{name_of_long}"
    );
    assert_ne!(name("r", Some("x")), name("r", Some("y")));
    assert_eq!(name("r", None), "r-12345678-test-4294967295");
}
