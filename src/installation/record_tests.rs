use super::*;
use crate::crypto::{OsRandom, RootKey};

fn fingerprint() -> Fingerprint {
    RootKey::generate(&mut OsRandom).unwrap().fingerprint()
}

fn record() -> Record {
    let region = "ks-local-1".parse().unwrap();
    Record::new(
        InstallationId::from_bytes([0x1a; 16]),
        region,
        fingerprint(),
    )
}

fn stored(record: &Record) -> ConfigMap {
    let mut data = BTreeMap::from([("entryOfANewerRelease".to_owned(), "x".to_owned())]);
    record.write(&mut data);
    ConfigMap {
        data: Some(data),
        ..ConfigMap::default()
    }
}

#[test]
fn the_record_survives_its_form_as_a_config_map() {
    let mut full = record();
    full.retire(fingerprint());
    full.rotation = Some(RootRotation {
        to: Some(ProviderKind::File),
        phase: Phase::Distributing,
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
        from: full.root,
        next: Some(fingerprint()),
        forget_old: true,
        problem: None,
    });
    let objection = Objection {
        root: fingerprint(),
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    full.objections
        .insert("keystead-controller-1".to_owned(), objection);
    for record in [record(), full] {
        let map = stored(&record);
        assert_eq!(Record::read(&map), Ok(record));
        assert!(map.data.unwrap().contains_key("entryOfANewerRelease"));
    }
}

#[test]
fn an_entry_that_nobody_of_ours_wrote_is_named() {
    for field in [ID, ROOT_FINGERPRINT, REGION, RETIRED_ROOTS, ROOT_ROTATION] {
        let mut map = stored(&record());
        let data = map.data.as_mut().unwrap();
        data.insert(field.to_owned(), "{not/what it was".to_owned());
        assert_eq!(Record::read(&map), Err(Malformed { field }));
    }
    assert_eq!(
        Record::read(&ConfigMap::default()),
        Err(Malformed { field: ID })
    );
}

#[test]
fn retired_root_keys_are_few_distinct_and_never_the_current_one() {
    let mut record = record();
    let twice = fingerprint();
    record.retire(twice);
    for _ in 0..MAX_RETIRED {
        record.retire(fingerprint());
    }
    assert_eq!(record.retired.len(), MAX_RETIRED);
    assert!(!record.retired.contains(&twice));
    record.retire(twice);
    record.retire(twice);
    assert_eq!(record.retired.last(), Some(&twice));
    assert_eq!(record.retired.iter().filter(|r| **r == twice).count(), 1);
}

#[test]
fn an_objection_is_written_once_and_again_before_it_counts_no_more() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let (mut record, next) = (record(), fingerprint());
    let objection = |root, second| {
        let at = at(second);
        Some(Objection { root, at })
    };
    // Nobody asks.
    assert!(!record.note_objection("one", objection(next, 0)));
    record.rotation = Some(RootRotation {
        to: None,
        phase: Phase::Distributing,
        since: at(0),
        from: record.root,
        next: Some(next),
        forget_old: false,
        problem: None,
    });
    // Looked at every second, for example since other replicas write.
    let written = (0..120).filter(|&s| record.note_objection("one", objection(next, s)));
    assert_eq!(written.count(), 6);
    assert!(record.objections["one"].is_live(next, at(119)));
    assert!(record.note_objection("one", objection(fingerprint(), 120)));
    assert!(record.note_objection("one", None));
    assert!(!record.note_objection("one", None));
}
