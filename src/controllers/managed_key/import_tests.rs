use kube::ResourceExt as _;
use serde_json::json;

use super::*;
use crate::api::MaterialGeneration;

const DAY: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
}

/// A key that names a Secret, until that day if one is given, with those annotations.
fn key(valid_to: Option<i64>, annotations: &[(&str, &str)]) -> ManagedKey {
    let mut key = super::super::testing::resource("object-1");
    let until = valid_to.map(|day| at(day).to_string());
    key.spec.import = serde_json::from_value(json!({
        "secretRef": {"name": "wrapped"}, "wrappingAlgorithm": "RsaesOaepSha256", "validTo": until,
    }))
    .unwrap();
    for (annotation, value) in annotations {
        let annotation = format!("keystead.dev/{annotation}");
        key.annotations_mut().insert(annotation, (*value).into());
    }
    key
}

fn without_import(mut key: ManagedKey) -> ManagedKey {
    key.spec.import = None;
    key
}

fn generation() -> MaterialGeneration {
    serde_json::from_value(
        json!({"version": 1, "materialId": "0".repeat(32), "wrapped": "AA==",
        "rootFingerprint": "f", "created": "2026-01-01T00:00:00Z"}),
    )
    .unwrap()
}

fn offer() -> ImportOffer {
    ImportOffer {
        id: "0".repeat(32),
        public_key: "AA==".into(),
        wrapped: "AA==".into(),
        valid_until: Time(at(1)),
    }
}

/// The truth about an external key, with its material or an offer for it.
fn truth(imported: bool) -> KeyMaterialSpec {
    let mut truth: KeyMaterialSpec = serde_json::from_value(json!({
        "namespace": "shop", "name": "orders", "namespaceUid": "n", "objectUid": "o", "arn": "a",
        "keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "External", "enabled": true,
        "generations": [],
    }))
    .unwrap();
    let mut record = ImportRecord::default();
    if imported {
        truth.generations.push(generation());
    } else {
        record.offer = Some(offer());
    }
    truth.import = Some(record);
    truth
}

fn record(truth: &KeyMaterialSpec) -> &ImportRecord {
    truth.import.as_ref().unwrap()
}

#[test]
fn an_end_within_a_second_is_as_it_is_read_back_and_so_written_once() {
    let mut truth = truth(true);
    let mut key = key(Some(10), &[]);
    let fraction = Time("2030-01-01T00:00:00.5Z".parse().unwrap());
    key.spec.import.as_mut().unwrap().valid_to = Some(fraction);
    settle(&key, &mut truth, at(0), None);
    let stored = serde_json::to_string(&truth).unwrap();
    let mut read: KeyMaterialSpec = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, truth);
    settle(&key, &mut read, at(0), None);
    assert_eq!(read, truth);
}

#[test]
fn an_offer_ends_after_its_day_and_is_made_again_for_a_new_token_only() {
    let mut truth = truth(false);
    let asked =
        |truth: &KeyMaterialSpec, value| offer_asked(&key(None, &[("offer-import", value)]), truth);
    settle(&key(None, &[]), &mut truth, at(0), None);
    assert!(record(&truth).offer.is_some());
    assert!(wanted(&key(None, &[]), &truth, at(0)).is_some());
    assert!(wanted(&key(None, &[]), &truth, at(1)).is_none());
    settle(&key(None, &[]), &mut truth, at(1), None);
    assert_eq!(record(&truth).offer, None);
    assert_eq!(offer_asked(&key(None, &[]), &truth), None);
    assert_eq!(asked(&truth, "one").as_deref(), Some("one"));
    truth.import.as_mut().unwrap().offer_token = Some("one".into());
    assert_eq!(asked(&truth, "one"), None);
    assert_eq!(asked(&truth, "two").as_deref(), Some("two"));
    truth.generations.push(generation());
    assert_eq!(asked(&truth, "two"), None, "there is nothing to import");
}

#[test]
fn a_new_key_has_obeyed_the_tokens_on_its_manifest() {
    let key = key(
        None,
        &[("offer-import", "a"), ("delete-imported-material", "b")],
    );
    let mut truth = truth(true);
    truth.import = Some(of_new(&key, offer()));
    assert_eq!(offer_asked(&key, &truth), None);
    settle(&without_import(key), &mut truth, at(0), None);
    assert_eq!(truth.generations.len(), 1);
}

#[test]
fn material_expires_at_valid_to_and_waits_thirty_days() {
    let key = key(Some(5), &[]);
    let mut truth = truth(true);
    settle(&key, &mut truth, at(4), None);
    assert_eq!((truth.generations.len(), next(&truth)), (1, Some(at(5))));
    settle(&key, &mut truth, at(5), None);
    let parked = record(&truth).parked.clone().unwrap();
    assert!(truth.generations.is_empty());
    assert_eq!((parked.date.0, parked.generation), (at(35), generation()));
    assert_eq!(next(&truth), Some(at(35)));
    let settled = truth.clone();
    settle(&key, &mut truth, at(6), Some(at(6)));
    assert_eq!(truth, settled, "it came to rest");

    settle(&key, &mut truth, at(36), None);
    assert!(
        record(&truth).parked.is_some(),
        "one clock alone destroys nothing"
    );
    settle(&key, &mut truth, at(36), Some(at(34)));
    assert!(record(&truth).parked.is_some());
    settle(&key, &mut truth, at(36), Some(at(36)));
    assert_eq!(record(&truth).parked, None);
}

#[test]
fn a_later_valid_to_counts_until_the_material_expired_and_an_absent_one_keeps_it() {
    let mut truth = truth(true);
    settle(&key(Some(5), &[]), &mut truth, at(0), None);
    settle(&key(Some(9), &[]), &mut truth, at(6), None);
    assert_eq!(record(&truth).valid_to, Some(Time(at(9))));
    settle(&without_import(key(None, &[])), &mut truth, at(7), None);
    assert_eq!(
        record(&truth).valid_to,
        Some(Time(at(9))),
        "the spec says nothing"
    );
    settle(&key(None, &[]), &mut truth, at(8), None);
    assert_eq!(record(&truth).valid_to, None);
    settle(&key(Some(5), &[]), &mut truth, at(8), None);
    assert!(truth.generations.is_empty());
    assert!(wanted(&key(Some(5), &[]), &truth, at(8)).is_none());
}

#[test]
fn material_is_deleted_by_a_new_token_once_the_spec_does_not_ask_for_it() {
    let mut truth = truth(true);
    let asks = [("delete-imported-material", "now")];
    settle(&key(None, &asks), &mut truth, at(0), None);
    assert_eq!(truth.generations.len(), 1, "the spec still asks for it");
    assert!(note(&key(None, &asks), &truth).contains("when spec.import is taken out"));
    settle(&without_import(key(None, &[])), &mut truth, at(0), None);
    assert_eq!(truth.generations.len(), 1, "nobody asked");
    settle(&without_import(key(None, &asks)), &mut truth, at(0), None);
    assert!(truth.generations.is_empty() && record(&truth).parked.is_some());

    // Imported again, with the annotation still there.
    truth.generations.push(generation());
    truth.import.as_mut().unwrap().parked = None;
    settle(&without_import(key(None, &asks)), &mut truth, at(1), None);
    assert_eq!(truth.generations.len(), 1, "each token deletes once");
}

#[test]
fn nothing_is_imported_into_a_key_that_is_not_external_has_material_or_ends() {
    let looks = |truth: &KeyMaterialSpec| wanted(&key(None, &[]), truth, at(0)).is_some();
    assert!(looks(&truth(false)));
    let mut other = truth(false);
    other.origin = KeyOrigin::Keystead;
    assert!(!looks(&other));
    let mut imported = truth(true);
    imported.import.as_mut().unwrap().offer = Some(offer());
    assert!(!looks(&imported));
    let mut ending = truth(false);
    ending.deletion = Some(super::super::deletion::absent(None, 0, at(0)));
    assert!(!looks(&ending));
    let mut unoffered = truth(false);
    unoffered.import.as_mut().unwrap().offer = None;
    assert!(!looks(&unoffered));
}

#[test]
fn a_waiting_key_says_what_is_wrong_and_what_to_do() {
    let said = |key: &ManagedKey, truth: &KeyMaterialSpec, found: Option<Found>| {
        let said = waiting(key, truth, found.as_ref(), at(0));
        assert!(!said.status);
        (said.reason, said.message)
    };
    let (reason, message) = said(&key(None, &[]), &truth(false), None);
    assert_eq!(reason, Reason::PendingImport);
    assert!(
        message.contains("status.import.wrappingPublicKey"),
        "{message}"
    );
    let (reason, _) = said(
        &key(None, &[]),
        &truth(false),
        Some(Found::Missing("x".into())),
    );
    assert_eq!(reason, Reason::ImportSourceMissing);
    let (reason, message) = said(
        &key(None, &[]),
        &truth(false),
        Some(Found::Refused("why".into())),
    );
    assert_eq!(reason, Reason::ImportRefused);
    assert!(message.contains("why"), "{message}");
    let (reason, message) = said(&key(Some(-1), &[]), &truth(false), None);
    assert_eq!(reason, Reason::ImportRefused);
    assert!(message.contains("validTo has passed"), "{message}");
    let mut expired = truth(true);
    settle(&key(Some(-1), &[]), &mut expired, at(0), None);
    let (_, message) = said(&without_import(key(None, &[])), &expired, None);
    assert!(message.contains("keystead.dev/offer-import"), "{message}");
    assert!(
        message.contains("former material is destroyed at"),
        "{message}"
    );
}
