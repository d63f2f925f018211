use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::super::testing::{ID, loaded, namespace, new_key, planned, resource, settle};
use super::*;
use crate::api::condition;
use crate::api::names::ANNOTATION_ROTATE;
use crate::api::{ConditionType, KeyState};
use crate::crypto::{SecretKey, public_key_pem};
use crate::keys::Generation;

fn state(seen: &Observed) -> Option<KeyState> {
    planned(seen).status.and_then(|status| status.state)
}

/// Expects that nothing is done, for that reason.
#[track_caller]
fn refused(seen: &Observed, reason: Reason) {
    let plan = planned(seen);
    assert!(plan.steps.is_empty());
    let ready = plan.ready.unwrap();
    assert_eq!(
        (ready.status, ready.reason),
        (false, reason),
        "{}",
        ready.message
    );
}

#[test]
fn a_new_key_is_made_once() {
    let mut seen = new_key();
    assert!(matches!(planned(&seen).steps[..], [Step::Create]));
    assert_eq!(state(&seen), Some(KeyState::Creating));
    settle(&mut seen);
    let status = planned(&seen).status.unwrap();
    assert_eq!(status.state, Some(KeyState::Enabled));
    assert_eq!(status.key_id.as_deref(), Some(ID));
    assert_eq!(status.current_version, Some(1));
}

#[test]
fn who_relies_on_a_key_is_told_that_its_root_is_embedded() {
    let mut seen = new_key();
    settle(&mut seen);
    let message = |seen: &Observed| planned(seen).ready.unwrap().message;
    assert!(!message(&seen).contains("embedded"));
    seen.root_is_embedded = true;
    assert!(message(&seen).contains("its root key is embedded"));
}

#[test]
fn a_key_that_cannot_be_there_or_is_going_away_is_left_alone() {
    let mut seen = new_key();
    seen.in_operator_namespace = true;
    refused(&seen, Reason::OperatorNamespace);
    let mut seen = new_key();
    let going = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    Arc::make_mut(&mut seen.key).metadata.deletion_timestamp = Some(going);
    let plan = planned(&seen);
    assert!(plan.steps.is_empty() && plan.status.is_none() && plan.ready.is_none());
}

#[test]
fn lost_material_is_never_made_anew() {
    let mut seen = new_key();
    settle(&mut seen);
    seen.material = None;
    refused(&seen, Reason::MaterialMissing);
    let status = planned(&seen).status.unwrap();
    assert_eq!(status.state, Some(KeyState::Unavailable));
    assert_eq!(status.key_id.as_deref(), Some(ID), "the id stays shown");
}

#[test]
fn material_that_is_not_loaded_or_does_not_open_is_no_usable_key() {
    let mut seen = new_key();
    settle(&mut seen);
    let material = seen.material.as_mut().unwrap();
    material.loaded = None;
    assert_eq!(state(&seen), Some(KeyState::Creating));
    let material = seen.material.as_mut().unwrap();
    let broken = Generation {
        version: 1,
        id: "0".repeat(32).parse().unwrap(),
        material: Err("wrapped under another root key".into()),
    };
    material.loaded = Some(loaded(&material.truth, vec![broken]));
    refused(&seen, Reason::MaterialUnreadable);
    assert_eq!(state(&seen), Some(KeyState::Unavailable));
}

#[test]
fn the_spec_decides_whether_a_key_can_be_used() {
    let mut seen = new_key();
    settle(&mut seen);
    for (enabled, expected) in [(Some(false), KeyState::Disabled), (None, KeyState::Enabled)] {
        Arc::make_mut(&mut seen.key).spec.enabled = enabled;
        assert!(matches!(planned(&seen).steps[..], [Step::Replace(_)]));
        settle(&mut seen);
        assert_eq!(state(&seen), Some(expected));
        let truth = &seen.material.as_ref().unwrap().truth;
        assert_eq!(truth.spec.enabled, enabled.unwrap_or(true));
    }
}

#[test]
fn material_whose_resource_was_replaced_by_another_waits_before_anything_else() {
    for (uid, adopt) in [("namespace-2", None), ("namespace-1", Some("Never"))] {
        let mut seen = new_key();
        settle(&mut seen);
        let mut claimant = resource("object-2");
        let adopt = adopt.map(|adopt| ("keystead.dev/adopt".to_owned(), adopt.to_owned()));
        claimant.annotations_mut().extend(adopt);
        seen.key = Arc::new(claimant);
        seen.namespace = Some(namespace(uid));
        let plan = planned(&seen);
        assert!(matches!(plan.steps[..], [Step::Park(_)]));
        assert!(!plan.ready.unwrap().status);
    }
}

#[test]
fn waiting_material_is_adopted_in_its_own_namespace_approved_for_another_or_left() {
    let recreated = |uid: &str| {
        let mut seen = new_key();
        settle(&mut seen);
        let material = seen.material.as_mut().unwrap();
        material.truth.spec.parked_since = Some(Time(Timestamp::from_second(1).unwrap()));
        seen.key = Arc::new(resource("object-2"));
        seen.namespace = Some(namespace(uid));
        seen
    };
    let mut seen = recreated("namespace-1");
    settle(&mut seen);
    let spec = &seen.material.as_ref().unwrap().truth.spec;
    assert_eq!(spec.object_uid, "object-2");
    assert_eq!(spec.parked_since, None);

    let mut seen = recreated("namespace-2");
    refused(&seen, Reason::AdoptionNeedsApproval);
    let material = seen.material.as_mut().unwrap();
    let approve = (
        ANNOTATION_APPROVE_ADOPTION.to_owned(),
        "namespace-2".to_owned(),
    );
    material.truth.annotations_mut().extend([approve]);
    settle(&mut seen);
    let truth = &seen.material.as_ref().unwrap().truth;
    assert_eq!(truth.spec.namespace_uid, "namespace-2");
    assert!(truth.annotations().is_empty(), "an approval is used once");

    let mut seen = recreated("namespace-2");
    let fresh = [("keystead.dev/adopt".to_owned(), "Never".to_owned())];
    Arc::make_mut(&mut seen.key).annotations_mut().extend(fresh);
    assert!(matches!(planned(&seen).steps[..], [Step::Create]));
}

#[test]
fn a_request_to_rotate_adds_a_generation_once_and_the_status_shows_it() {
    let mut seen = new_key();
    settle(&mut seen);
    let key = Arc::make_mut(&mut seen.key);
    key.annotations_mut()
        .insert("keystead.dev/rotate".into(), "one".into());
    key.spec.rotation = serde_json::from_value(json!({"periodDays": 100})).unwrap();
    assert!(matches!(planned(&seen).steps[..], [Step::Replace(_)]));
    settle(&mut seen);
    let status = planned(&seen).status.unwrap();
    assert_eq!(status.current_version, Some(2));
    assert_eq!(status.versions.len(), 2);
    assert!(status.next_rotation_time.is_some());
}

#[test]
fn while_a_restore_is_suspected_a_rotation_waits_and_says_so() {
    let mut seen = new_key();
    settle(&mut seen);
    let rotate = (ANNOTATION_ROTATE.to_owned(), "now".to_owned());
    Arc::make_mut(&mut seen.key)
        .annotations_mut()
        .extend([rotate]);
    let hold = json!({"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "cause": "OldLease"});
    seen.hold = Some(serde_json::from_value(hold).unwrap());
    settle(&mut seen);
    let told = |seen: &Observed| {
        let conditions = seen.key.status.as_ref().unwrap().conditions.clone();
        condition::find(&conditions, ConditionType::RestoreSuspected).cloned()
    };
    let said = told(&seen).unwrap();
    assert!(said.message.contains("2026-01-02T00:00:00Z"), "{said:?}");
    assert_eq!(state(&seen), Some(KeyState::Enabled));
    let generations =
        |seen: &Observed| seen.material.as_ref().unwrap().truth.spec.generations.len();
    assert_eq!(generations(&seen), 1);
    assert!(planned(&seen).next.is_some(), "it is looked at again");
    seen.hold = None;
    settle(&mut seen);
    assert_eq!((generations(&seen), told(&seen)), (2, None));
}

#[test]
fn what_needs_a_key_is_shown_as_it_was_last_known() {
    let mut seen = new_key();
    settle(&mut seen);
    for (counted, secrets) in [(Some(7), 7), (None, 7), (Some(3), 3), (Some(0), 0)] {
        seen.dependents = counted;
        let plan = planned(&seen);
        assert_eq!(plan.next, None);
        let shown = plan.status.as_ref().unwrap().dependents.clone().unwrap();
        assert_eq!((shown.secrets, shown.grants), (secrets, 0));
        Arc::make_mut(&mut seen.key).status = plan.status;
    }
}

#[test]
fn what_needs_old_material_is_counted_soon_while_it_gets_less_and_then_seldom() {
    let mut seen = new_key();
    settle(&mut seen);
    Arc::make_mut(&mut seen.key)
        .annotations_mut()
        .insert("keystead.dev/rotate".into(), "one".into());
    settle(&mut seen);
    let old = seen.material.as_ref().unwrap().truth.spec.generations[0]
        .material_id
        .clone();
    let wait = |seen: &Observed| {
        let plan = planned(seen);
        let wait = plan.next.map(|next| next.as_second() - 1_800_000_000);
        (wait, plan.status.unwrap())
    };
    assert_eq!(wait(&seen).0, None, "nobody counted");
    seen.references = Some([(old.clone(), 7)].into());
    let (soon, status) = wait(&seen);
    assert_eq!(soon, Some(5));
    assert_eq!(status.versions[0].references, Some(7));
    assert_eq!(status.versions[1].references, None);
    Arc::make_mut(&mut seen.key).status = Some(status);
    assert_eq!(wait(&seen).0, Some(60), "nothing happens");
    seen.references = None;
    let (_, unknown) = wait(&seen);
    assert_eq!(unknown.versions[0].references, Some(7), "as it was shown");
    seen.references = Some([(old, 3)].into());
    assert_eq!(wait(&seen).0, Some(5));
    seen.references = Some(std::collections::BTreeMap::new());
    let (never, status) = wait(&seen);
    assert_eq!((never, status.versions[0].references), (None, Some(0)));
}

#[test]
fn a_key_that_is_not_rotated_although_it_would_be_time_is_not_looked_at_again_and_again() {
    let mut seen = new_key();
    let key = Arc::make_mut(&mut seen.key);
    key.spec.rotation = serde_json::from_value(json!({"periodDays": 90})).unwrap();
    settle(&mut seen);
    let rotate_in_2025 = |seen: &mut Observed| {
        let since = serde_json::from_value(json!("2025-01-01T00:00:00Z")).unwrap();
        let material = seen.material.as_mut().unwrap();
        material.truth.spec.rotation.automatic_since = Some(since);
        material.loaded = Some(loaded(&material.truth, Vec::new()));
    };
    rotate_in_2025(&mut seen);
    assert!(matches!(planned(&seen).steps[..], [Step::Rotate(..)]));

    Arc::make_mut(&mut seen.key).spec.enabled = Some(false);
    settle(&mut seen);
    let disabled = planned(&seen);
    assert!(disabled.steps.is_empty() && disabled.next.is_none());
    assert_eq!(disabled.status.unwrap().next_rotation_time, None);

    let key = Arc::make_mut(&mut seen.key);
    key.spec.enabled = None;
    key.spec.deletion = Some(crate::api::KeyDeletion::default());
    settle(&mut seen);
    rotate_in_2025(&mut seen);
    let waiting = planned(&seen);
    assert!(waiting.steps.is_empty() && waiting.next.is_none());
}

#[test]
fn a_key_that_is_not_rotated_says_so_to_whoever_asks() {
    let mut seen = new_key();
    settle(&mut seen);
    let material = seen.material.as_mut().unwrap();
    material.truth.spec.key_spec = crate::api::KeySpec::EccNistP256;
    material.truth.spec.key_usage = crate::api::KeyUsage::SignVerify;
    material.loaded = Some(loaded(&material.truth, Vec::new()));
    let message = |seen: &Observed| planned(seen).ready.unwrap().message;
    assert!(!message(&seen).contains("not rotated"));
    let key = Arc::make_mut(&mut seen.key);
    key.annotations_mut()
        .insert("keystead.dev/rotate".into(), "now".into());
    assert!(planned(&seen).steps.is_empty());
    assert!(message(&seen).contains("a key of its keySpec or origin is not rotated"));
}

#[test]
fn the_status_shows_the_public_key_and_the_algorithms() {
    let mut seen = new_key();
    settle(&mut seen);
    let status = planned(&seen).status.unwrap();
    assert_eq!(status.encryption_algorithms, ["SYMMETRIC_DEFAULT"]);
    assert_eq!(status.public_key, None);
    let kind = crate::crypto::SigningKind::EccNistP256;
    let pair = crate::crypto::SigningKey::generate(kind).unwrap();
    let pair = crate::crypto::SigningKey::from_pkcs8(kind, &pair).unwrap();
    let expected = public_key_pem(pair.public_key());
    let material = seen.material.as_mut().unwrap();
    material.truth.spec.key_spec = crate::api::KeySpec::EccNistP256;
    material.truth.spec.key_usage = crate::api::KeyUsage::SignVerify;
    let generation = Generation {
        version: 1,
        id: "0".repeat(32).parse().unwrap(),
        material: Ok(SecretKey::Signing(pair)),
    };
    material.loaded = Some(loaded(&material.truth, vec![generation]));
    let status = planned(&seen).status.unwrap();
    assert_eq!(status.public_key, Some(expected));
    assert_eq!(status.signing_algorithms, ["ECDSA_SHA_256"]);
    assert!(status.encryption_algorithms.is_empty());
}
