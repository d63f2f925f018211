use serde_json::{Value, json};

use super::*;

/// An id of a version.
fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Versions with these stages, newest first, of which the last one is number 1.
fn versions(stages: &[&[&str]]) -> Vec<SecretVersionStatus> {
    let count = stages.len();
    let version = |(index, stages): (usize, &&[&str])| {
        let version = json!({"id": id(count - index), "stages": stages, "created": "2026-01-01T00:00:00Z", "keyId": "k"});
        serde_json::from_value(version).unwrap()
    };
    stages.iter().enumerate().map(version).collect()
}

/// A pod with these attributes of volumes, that is said to have that.
fn pod(volumes: &[Value], told: Option<&str>) -> Pod {
    let volumes = volumes.iter().map(|attributes| {
        json!({"name": "v", "csi": {"driver": "secrets.keystead.dev", "volumeAttributes": attributes}})
    });
    let told = told.map(
        |text| json!({"type": "keystead.dev/SecretsLoaded", "status": "True", "message": text}),
    );
    serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"containers": [], "volumes": volumes.collect::<Vec<_>>()},
        "status": {"phase": "Running", "conditions": told.into_iter().collect::<Vec<_>>()},
    }))
    .unwrap()
}

/// A pod that mounts `db` and has that version of it.
fn with(number: usize) -> Pod {
    pod(
        &[json!({"secret": "db"})],
        Some(&format!("db={}", id(number))),
    )
}

fn told(pods: &[Pod], versions: &[SecretVersionStatus]) -> Option<Value> {
    let mut tally = Tally::default();
    for pod in pods {
        tally.add(pod);
    }
    let status = tally.status("db", versions)?;
    Some(serde_json::to_value(status).unwrap())
}

#[test]
fn pods_are_counted_by_the_version_that_they_have() {
    let two = versions(&[&["Current"], &["Previous"]]);
    let starting = pod(&[json!({"secret": "db"})], None);
    let other = pod(
        &[json!({"secret": "cache"})],
        Some(&format!("cache={}", id(1))),
    );
    let counted = told(&[with(1), with(2), with(2), starting, other], &two);
    assert_eq!(
        counted,
        Some(json!({"pods": 4, "upToDate": 2, "unknown": 1,
            "versions": [{"id": id(2), "pods": 2}, {"id": id(1), "pods": 1}]}))
    );
    assert_eq!(told(&[], &two), None);
}

#[test]
fn pods_that_have_ended_or_are_being_deleted_do_not_count() {
    let one = versions(&[&["Current"]]);
    for phase in ["Succeeded", "Failed"] {
        let mut over = with(1);
        over.status.as_mut().unwrap().phase = Some(phase.to_owned());
        assert_eq!(told(&[over], &one), None, "{phase}");
    }
    let mut going = with(1);
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        "2026-01-01T00:00:00Z".parse().unwrap(),
    ));
    assert_eq!(told(&[going], &one), None);
}

#[test]
fn what_is_said_that_is_no_version_of_what_the_pod_mounts_says_nothing() {
    let one = versions(&[&["Current"]]);
    for said in [
        "db=latest".to_owned(),
        format!("other={}", id(1)),
        "x".to_owned(),
    ] {
        let told = told(&[pod(&[json!({"secret": "db"})], Some(&said))], &one);
        let expected = json!({"pods": 1, "upToDate": 0, "unknown": 1});
        assert_eq!(told, Some(expected), "{said}");
    }
}

#[test]
fn a_secret_in_several_volumes_of_a_pod_is_one_and_current_where_any_asks_for_that() {
    let two = versions(&[&["Current"], &["Previous"]]);
    let previous = json!({"secret": "db", "stage": "Previous"});
    let message = format!("db={}", id(1));
    let only = pod(std::slice::from_ref(&previous), Some(&message));
    let counted = told(&[only], &two).unwrap();
    assert_eq!(
        (&counted["pods"], &counted["upToDate"]),
        (&json!(1), &json!(1))
    );
    for both in [
        [previous.clone(), json!({"secret": "db"})],
        [json!({"secret": "db"}), previous.clone()],
    ] {
        let both = pod(&both, Some(&message));
        let counted = told(&[both], &two).unwrap();
        assert_eq!(
            (&counted["pods"], &counted["upToDate"]),
            (&json!(1), &json!(0))
        );
    }
}

#[test]
fn who_has_what_he_asks_for_is_not_behind_and_who_has_not_told_is() {
    let two = versions(&[&["Current", "blue"], &["Previous"]]);
    let is_behind =
        |pod: &Pod, versions: &[SecretVersionStatus]| of_pod(pod)["db"].is_behind(versions);
    assert!(!is_behind(&with(2), &two));
    assert!(is_behind(&with(1), &two));
    assert!(is_behind(&with(9), &two));
    let starting = pod(&[json!({"secret": "db"})], None);
    assert!(is_behind(&starting, &two));
    assert!(!is_behind(&starting, &[]), "there is nothing to be had");
    let optional = pod(
        &[json!({"secret": "db", "optional": "true", "stage": "Previous"})],
        None,
    );
    assert!(!is_behind(&optional, &two[..1]), "there is no earlier one");
}

#[test]
fn the_newest_versions_are_told_and_all_others_in_one_number() {
    let stages: Vec<&[&str]> = vec![&["Current"], &[], &[], &[], &[], &[], &[], &[], &[], &[]];
    let ten = versions(&stages);
    // Nobody has number 9; 11 is not kept.
    let pods: Vec<_> = (1..=11).filter(|number| *number != 9).map(with).collect();
    let counted = told(&pods, &ten).unwrap();
    let listed: Vec<_> = counted["versions"].as_array().unwrap().iter().collect();
    assert_eq!(listed.len(), MAX_LOADED_VERSIONS);
    assert_eq!(*listed[0], json!({"id": id(10), "pods": 1}));
    assert_eq!(*listed[1], json!({"id": id(8), "pods": 1}));
    assert_eq!(*listed[7], json!({"id": id(2), "pods": 1}));
    assert_eq!(counted["otherVersions"], 2, "1 and 11");
    assert_eq!(
        (&counted["pods"], &counted["upToDate"]),
        (&json!(10), &json!(1))
    );
}
