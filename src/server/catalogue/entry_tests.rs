use serde_json::{Value, json};

use super::super::testing::watched;
use super::*;

fn entry(spec: &Value, status: &Value) -> Option<Entry> {
    Entry::of(watched("shop", "db", spec, status))
}

#[test]
fn what_is_kept_of_a_secret_is_what_delivery_looks_at() {
    let spec = json!({
        "sealed": {"key": "AAAA"}, "literals": {"user": "C4N4RY"},
        "template": {"type": "Opaque", "data": {"url": "[[ user ]]"}}, "target": {"form": "None"},
    });
    let status = json!({
        "keys": ["key", "user"], "sequence": 3,
        "versions": [
            {"id": "v1", "created": "2026-01-01T00:00:00Z", "keyId": "k", "stages": ["Previous"]},
            {"id": "v2", "created": "2026-01-02T00:00:00Z", "keyId": "k", "stages": ["Current", "blue"]},
        ],
    });
    let entry = entry(&spec, &status).unwrap();
    assert_eq!((&*entry.namespace, &*entry.name), ("shop", "db"));
    assert_eq!(entry.form, Form::None);
    assert_eq!(entry.delivered_keys().collect::<Vec<_>>(), ["url"]);
    assert_eq!(entry.revision, Some(Revision::of("v2", &entry.template)));
    assert_eq!((&entry.taken, &entry.problem), (&None, &None));
    assert!(!format!("{entry:?}").contains("C4N4RY"));
}

#[test]
fn what_cannot_be_a_variable_is_known_and_a_reason_of_a_newer_release_is_left_out() {
    let status = json!({"keys": ["salt", "new", "user"], "undeliverableByEnv": [
        {"key": "salt", "reason": "SingleQuote"}, {"key": "new", "reason": "TooLoud"}]});
    let entry = entry(&json!({}), &status).unwrap();
    assert_eq!(
        entry.undeliverable("salt"),
        Some(Undeliverable::SingleQuote)
    );
    assert_eq!(entry.undeliverable("new"), None);
    assert_eq!(entry.undeliverable("user"), None);
}

#[test]
fn a_secret_without_a_version_has_no_revision() {
    let entry = entry(&json!({}), &json!({})).unwrap();
    assert_eq!(entry.revision, None);
    assert_eq!(entry.form, Form::Sealed);
    assert_eq!(entry.names().collect::<Vec<_>>(), ["db"]);
}

#[test]
fn a_form_of_a_newer_release_is_not_taken_for_another() {
    assert_eq!(
        entry(&json!({"target": {"form": "Folded"}}), &json!({})),
        None
    );
}

#[test]
fn a_secret_stands_behind_what_it_asks_for_and_what_it_is_delivered_in() {
    let names = |target: Value, delivered: &str| {
        let status = json!({"targetRef": {"name": delivered, "form": "Plain"}});
        let entry = entry(&json!({"target": target}), &status).unwrap();
        let names: Vec<_> = entry.names().map(str::to_owned).collect();
        names
    };
    assert_eq!(names(json!({"name": "new"}), "old"), ["new", "old"]);
    assert_eq!(names(json!({}), "db"), ["db"]);
    let own = json!({"form": "Plain", "immutable": true});
    assert_eq!(names(own, "db-0123"), ["db-0123"]);
}

#[test]
fn a_name_that_is_taken_is_told_in_the_words_of_the_condition() {
    let conditions = |reason: &str| {
        json!({"conditions": [{
            "type": "Ready", "status": "False", "reason": reason, "message": "so it is",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]})
    };
    for (reason, taken) in [
        ("TargetExists", true),
        ("TargetOwnedByOther", true),
        ("KeyNotFound", false),
    ] {
        let entry = entry(&json!({}), &conditions(reason)).unwrap();
        assert_eq!(entry.taken.is_some(), taken, "{reason}");
        assert_eq!(entry.problem.as_deref(), Some("so it is"));
    }
}

#[test]
fn a_revision_changes_with_the_version_and_the_template_only() {
    let template = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        pairs.collect()
    };
    let first = Revision::of("v1", &template(&[("a", "bc")]));
    assert_eq!(first, Revision::of("v1", &template(&[("a", "bc")])));
    for other in [
        Revision::of("v2", &template(&[("a", "bc")])),
        Revision::of("v1", &template(&[("ab", "c")])),
        Revision::of("v1", &template(&[("a", "bd")])),
        Revision::of("v1", &template(&[("a", "bc"), ("b", "")])),
        Revision::of("v1", &template(&[])),
        Revision::of("v1a", &template(&[("", "bc")])),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_revision_is_read_as_it_is_written() {
    let revision = Revision::of("v1", &BTreeMap::new());
    let text = revision.to_string();
    assert_eq!(text.len(), 32);
    assert_eq!(text.parse(), Ok(revision));
    for other in [
        "",
        "v1",
        &text[1..],
        &format!("{text}0"),
        &"g".repeat(32),
        &"\u{fc}".repeat(16),
    ] {
        assert_eq!(other.parse::<Revision>(), Err(NoRevision), "{other}");
    }
}
