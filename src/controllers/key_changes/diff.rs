//! What becomes of a key whose truth changes, as AWS KMS calls; and what of it is written first. Pure.

use crate::api::{DeletionRecord, GrantRecord, KeyMaterialSpec};
use crate::policy::Action;

/// One change, as the AWS KMS call that does the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(super) name: &'static str,
    pub(super) parameters: Vec<(&'static str, String)>,
    /// Whether it only takes possibilities away. Such a change is made also when the trail cannot be written: a full disk must
    /// not keep anybody from disabling a key.
    pub(super) protects: bool,
    /// Whether nobody asks for it but the time that has come.
    pub(super) is_due: bool,
}

impl Change {
    /// A change that is made only if it can be written to the trail.
    pub(crate) fn new(name: &'static str, parameters: Vec<(&'static str, String)>) -> Self {
        Self {
            name,
            parameters,
            protects: false,
            is_due: false,
        }
    }

    fn protecting(name: &'static str, parameters: Vec<(&'static str, String)>) -> Self {
        Self {
            protects: true,
            ..Self::new(name, parameters)
        }
    }
}

/// What becomes of a key whose truth changes so. Generations that are added are not compared: whoever makes them knows why.
pub(crate) fn changes(before: &KeyMaterialSpec, after: &KeyMaterialSpec) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.object_uid != after.object_uid {
        changes.push(Change::new("AdoptKeyMaterial", Vec::new()));
    }
    match (before.enabled, after.enabled) {
        (true, false) => changes.push(Change::protecting("DisableKey", Vec::new())),
        (false, true) => changes.push(Change::new("EnableKey", Vec::new())),
        _ => {}
    }
    match (&before.deletion, &after.deletion) {
        (Some(_), None) => changes.push(Change::new("CancelKeyDeletion", Vec::new())),
        (old, Some(new)) => {
            let same = old.as_ref().is_some_and(|old| {
                old.date == new.date && old.accept_data_loss == new.accept_data_loss
            });
            if !same {
                let mut parameters = vec![("deletionDate", new.date.0.to_string())];
                if let Some(count) = new.accept_data_loss {
                    parameters.push(("acceptDataLoss", count.to_string()));
                }
                changes.push(Change {
                    protects: old.is_none() && new.accept_data_loss.is_none(),
                    ..Change::new("ScheduleKeyDeletion", parameters)
                });
            }
        }
        (None, None) => {}
    }
    changes.extend(imported_material_gone(before, after));
    if before.policy.accepted != after.policy.accepted {
        changes.push(Change::new("PutKeyPolicy", Vec::new()));
    }
    changes.extend(grants(before, after));
    changes
}

/// What is to be written first on the way from `before` to `after`: only that which takes possibilities away, if there is any
/// and something else too. So nothing that waits for the trail keeps a key from being disabled by the same change.
pub(crate) fn first_step(before: &KeyMaterialSpec, after: &KeyMaterialSpec) -> KeyMaterialSpec {
    let protective = protective(before, after);
    let is_mixed = changes(before, after).iter().any(|change| !change.protects);
    if is_mixed && protective != *before {
        protective
    } else {
        after.clone()
    }
}

/// `before`, with what `after` takes away from it. A key that is taken over is used by nobody until it is.
fn protective(before: &KeyMaterialSpec, after: &KeyMaterialSpec) -> KeyMaterialSpec {
    let mut only = before.clone();
    if before.object_uid != after.object_uid {
        return only;
    }
    only.enabled &= after.enabled;
    if let (None, Some(record)) = (&before.deletion, &after.deletion) {
        only.deletion = Some(DeletionRecord {
            accept_data_loss: None,
            ..record.clone()
        });
    }
    if imported_material_gone(before, after).is_some_and(|change| change.protects) {
        only.import.clone_from(&after.import);
        only.generations.clone_from(&after.generations);
    }
    only.grants = before
        .grants
        .iter()
        .filter_map(|grant| after.grants.iter().find(|kept| kept.uid == grant.uid))
        .cloned()
        .collect();
    only
}

/// Grants that are in force from now on, or not any more. What is taken away is taken away whatever the trail does.
fn grants(before: &KeyMaterialSpec, after: &KeyMaterialSpec) -> Vec<Change> {
    let live = |spec: &KeyMaterialSpec, grant: &GrantRecord| {
        let mut grants = spec.grants.iter().filter(|g| !g.expired);
        grants.any(|other| other.uid == grant.uid)
    };
    let added = after
        .grants
        .iter()
        .filter(|g| !g.expired && !live(before, g));
    let added = added.map(|grant| {
        let operations: Vec<_> = grant
            .operations
            .iter()
            .map(|o| Action::from(*o).name())
            .collect();
        let mut parameters = vec![
            ("name", grant.name.clone()),
            ("granteePrincipal", grant.grantee.clone()),
            ("operations", operations.join(",")),
        ];
        let (end, maker) = (&grant.expires_at, &grant.created_by);
        parameters.extend(end.as_ref().map(|end| ("expiresAt", end.0.to_string())));
        parameters.extend(maker.clone().map(|maker| ("createdBy", maker)));
        Change::new("CreateGrant", parameters)
    });
    let ended = before
        .grants
        .iter()
        .filter(|g| !g.expired && !live(after, g));
    let ended = ended.map(|grant| {
        let expired = after.grants.iter().any(|g| g.uid == grant.uid && g.expired);
        let name = if expired {
            "ExpireGrant"
        } else {
            "RevokeGrant"
        };
        Change::protecting(name, vec![("name", grant.name.clone())])
    });
    added.chain(ended).collect()
}

/// That imported material is taken out of use, or destroyed after its window.
fn imported_material_gone(before: &KeyMaterialSpec, after: &KeyMaterialSpec) -> Option<Change> {
    let (old, new) = (before.import.as_ref()?, after.import.as_ref()?);
    match (&old.parked, &new.parked) {
        (None, Some(_)) if old.delete_token != new.delete_token => {
            Some(Change::protecting("DeleteImportedKeyMaterial", Vec::new()))
        }
        (None, Some(_)) => Some(Change {
            is_due: true,
            ..Change::protecting("DeleteExpiredKeyMaterial", Vec::new())
        }),
        (Some(_), None) => Some(Change {
            is_due: true,
            ..Change::new("DestroyImportedKeyMaterial", Vec::new())
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: &serde_json::Value) -> KeyMaterialSpec {
        let mut spec = json!({
            "namespace": "shop", "name": "orders", "namespaceUid": "n", "objectUid": "o",
            "arn": "arn:aws:kms:eu-1:000000000001:key/11111111-1111-4111-8111-111111111111",
            "keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead",
            "enabled": true, "generations": [],
        });
        for (key, value) in value.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn names(before: &serde_json::Value, after: &serde_json::Value) -> Vec<(&'static str, bool)> {
        let changes = changes(&spec(before), &spec(after));
        changes.iter().map(|c| (c.name, c.protects)).collect()
    }

    #[test]
    fn each_change_has_its_call_and_only_what_protects_goes_on_without_a_line() {
        let (none, off) = (json!({}), json!({"enabled": false}));
        let due = |date: &str| json!({"deletion": {"since": "2026-11-01T00:00:00Z", "date": date}});
        let (soon, late) = (due("2026-11-08T00:00:00Z"), due("2026-12-01T00:00:00Z"));
        assert_eq!(names(&none, &none), []);
        assert_eq!(names(&none, &off), [("DisableKey", true)]);
        assert_eq!(names(&off, &none), [("EnableKey", false)]);
        assert_eq!(names(&none, &soon), [("ScheduleKeyDeletion", true)]);
        assert_eq!(names(&soon, &soon), []);
        assert_eq!(names(&soon, &late), [("ScheduleKeyDeletion", false)]);
        let lossy = json!({"deletion": {"since": "2026-11-01T00:00:00Z", "date": "2026-11-08T00:00:00Z", "acceptDataLoss": 3}});
        assert_eq!(names(&none, &lossy), [("ScheduleKeyDeletion", false)]);
        assert_eq!(names(&soon, &lossy), [("ScheduleKeyDeletion", false)]);
        assert_eq!(names(&late, &none), [("CancelKeyDeletion", false)]);
        let adopted = json!({"objectUid": "other"});
        assert_eq!(names(&none, &adopted), [("AdoptKeyMaterial", false)]);
    }

    #[test]
    fn what_protects_is_written_first_and_alone() {
        let grant = |uid: &str| json!({"name": uid, "uid": uid, "grantee": "ann", "operations": ["Decrypt"]});
        let before = json!({"grants": [grant("1"), grant("2")]});
        let after = json!({
            "enabled": false, "grants": [grant("2"), grant("3")], "policy": {"accepted": {"delegateToRBAC": false}},
            "deletion": {"since": "2026-11-01T00:00:00Z", "date": "2026-11-08T00:00:00Z", "acceptDataLoss": 3},
        });
        let first = first_step(&spec(&before), &spec(&after));
        let expected = json!({
            "enabled": false, "grants": [grant("2")],
            "deletion": {"since": "2026-11-01T00:00:00Z", "date": "2026-11-08T00:00:00Z"},
        });
        assert_eq!(first, spec(&expected));
        assert!(
            changes(&spec(&before), &first)
                .iter()
                .all(|change| change.protects)
        );
        // The rest follows, and what is of one kind is one step.
        assert_eq!(first_step(&first, &spec(&after)), spec(&after));
        for step in [json!({"enabled": false}), json!({"grants": [grant("1")]})] {
            let step = spec(&step);
            assert_eq!(first_step(&spec(&json!({})), &step), step);
        }
    }

    #[test]
    fn imported_material_that_goes_out_of_use_or_is_destroyed_is_told() {
        let generation = json!({"version": 1, "materialId": "m", "wrapped": "w", "rootFingerprint": "r", "created": "2026-11-01T00:00:00Z"});
        let parked = json!({"generation": generation, "since": "2026-11-01T00:00:00Z", "date": "2026-12-01T00:00:00Z"});
        let present = json!({"import": {"deleteToken": "1"}});
        let expired = json!({"import": {"deleteToken": "1", "parked": parked}});
        let deleted = json!({"import": {"deleteToken": "2", "parked": parked}});
        assert_eq!(names(&present, &present), []);
        assert_eq!(
            names(&present, &expired),
            [("DeleteExpiredKeyMaterial", true)]
        );
        assert_eq!(
            names(&present, &deleted),
            [("DeleteImportedKeyMaterial", true)]
        );
        assert_eq!(
            names(&expired, &present),
            [("DestroyImportedKeyMaterial", false)]
        );
    }

    #[test]
    fn a_policy_and_each_grant_that_begins_or_ends_is_told() {
        let grant = |uid: &str, expired: bool| json!({"name": "g", "uid": uid, "grantee": "ann", "operations": ["Decrypt"], "expired": expired});
        let with = |grants: &[serde_json::Value]| json!({"grants": grants});
        let (none, one) = (with(&[]), with(&[grant("1", false)]));
        let (expired, other) = (with(&[grant("1", true)]), with(&[grant("2", false)]));
        assert_eq!(names(&none, &one), [("CreateGrant", false)]);
        assert_eq!(names(&one, &one), []);
        assert_eq!(names(&one, &none), [("RevokeGrant", true)]);
        assert_eq!(names(&one, &expired), [("ExpireGrant", true)]);
        assert_eq!(names(&expired, &none), []);
        assert_eq!(
            names(&one, &other),
            [("CreateGrant", false), ("RevokeGrant", true)]
        );
        let policy = json!({"policy": {"accepted": {"delegateToRBAC": false}}});
        assert_eq!(names(&none, &policy), [("PutKeyPolicy", false)]);
    }
}
