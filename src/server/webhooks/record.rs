//! Who asked the API server for a change of a key, as lines of the audit trail. The controller carries changes out later, and is
//! told no user: only an admission knows him.

use serde_json::Value;

use super::admission::AdmissionRequest;
use crate::api::names::ANNOTATION_ROTATE;
use crate::audit::{Entry, EventSource, Identity, Resource, ResourceType};

/// What the lines say of why.
const REASON: &str = "asked of the API server, whose admission policies let it through; another webhook may still refuse it";

/// A call of AWS KMS, and what else it says.
type Call = (&'static str, Vec<(&'static str, String)>);

/// The lines of a request: one for each AWS call that does the same. Pure.
pub(super) fn entries(request: &AdmissionRequest) -> Vec<Entry> {
    let calls = match request.kind.kind.as_str() {
        "ManagedKey" => key_calls(request),
        "KeyAlias" => alias_calls(request),
        "KeyGrant" => grant_calls(request),
        _ => Vec::new(),
    };
    calls.into_iter().map(|call| entry(request, call)).collect()
}

fn entry(request: &AdmissionRequest, (name, parameters): Call) -> Entry {
    let who = Identity {
        user: request.user_info.username.clone(),
        groups: request.user_info.groups.clone(),
        via: Some("admission".to_owned()),
        field_manager: None,
    };
    let mut entry = Entry::allowed(EventSource::Kms, name, who, &request.uid);
    let is_key = request.kind.kind == "ManagedKey";
    let named = if is_key {
        name_of(request)
    } else {
        text(&request.object["spec"]["keyRef"]["name"])
    };
    entry.resources = vec![Resource {
        type_: ResourceType::ManagedKey,
        namespace: request.namespace.clone(),
        name: named,
        uid: request.object["metadata"]["uid"]
            .as_str()
            .filter(|_| is_key)
            .map(str::to_owned),
        arn: None,
    }];
    let parameters = parameters.into_iter();
    entry.request_parameters.other = parameters
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    REASON.clone_into(&mut entry.reason);
    entry
}

fn key_calls(request: &AdmissionRequest) -> Vec<Call> {
    let (new, old) = (&request.object["spec"], &request.old_object["spec"]);
    if request.old_object.is_null() {
        return vec![("CreateKey", Vec::new())];
    }
    let mut calls = Vec::new();
    let changed = |field: &str| new[field] != old[field];
    if changed("policy") || changed("bypassPolicyLockoutSafetyCheck") {
        calls.push(("PutKeyPolicy", Vec::new()));
    }
    match (is_enabled(old), is_enabled(new)) {
        (true, false) => calls.push(("DisableKey", Vec::new())),
        (false, true) => calls.push(("EnableKey", Vec::new())),
        _ => {}
    }
    if changed("deletion") {
        calls.push(if new["deletion"].is_null() {
            ("CancelKeyDeletion", Vec::new())
        } else {
            ("ScheduleKeyDeletion", deletion(&new["deletion"]))
        });
    }
    if changed("rotation") {
        calls.push(rotation(&new["rotation"]));
    }
    if changed("import") {
        calls.push(("ImportKeyMaterial", Vec::new()));
    }
    if changed("description") {
        calls.push(("UpdateKeyDescription", Vec::new()));
    }
    let token = |object: &Value| object["metadata"]["annotations"][ANNOTATION_ROTATE].clone();
    if token(&request.object) != token(&request.old_object) && !token(&request.object).is_null() {
        calls.push(("RotateKeyOnDemand", Vec::new()));
    }
    calls
}

fn alias_calls(request: &AdmissionRequest) -> Vec<Call> {
    let alias = vec![("aliasName", name_of(request))];
    let target = |object: &Value| object["spec"]["keyRef"].clone();
    if request.old_object.is_null() {
        vec![("CreateAlias", alias)]
    } else if target(&request.object) == target(&request.old_object) {
        Vec::new()
    } else {
        vec![("UpdateAlias", alias)]
    }
}

fn grant_calls(request: &AdmissionRequest) -> Vec<Call> {
    if !request.old_object.is_null() {
        return Vec::new();
    }
    let spec = &request.object["spec"];
    let operations = spec["operations"].as_array().into_iter().flatten();
    let operations: Vec<_> = operations.map(text).collect();
    let mut parameters = vec![
        ("name", name_of(request)),
        ("granteePrincipal", text(&spec["granteePrincipal"])),
        ("operations", operations.join(",")),
    ];
    let end = spec["expiresAt"].as_str();
    parameters.extend(end.map(|end| ("expiresAt", end.to_owned())));
    vec![("CreateGrant", parameters)]
}

/// Absent means enabled.
fn is_enabled(spec: &Value) -> bool {
    spec["enabled"] != false
}

fn deletion(asked: &Value) -> Vec<(&'static str, String)> {
    let fields = ["pendingWindowDays", "acceptDataLoss"];
    fields
        .into_iter()
        .filter(|field| !asked[field].is_null())
        .map(|field| (field, asked[field].to_string()))
        .collect()
}

/// Without the field nothing is rotated but on demand.
fn rotation(asked: &Value) -> Call {
    if asked.is_null() || asked["enabled"] == false {
        return ("DisableKeyRotation", Vec::new());
    }
    let days = asked["periodDays"].as_u64();
    let days = days.map(|days| ("rotationPeriodInDays", days.to_string()));
    ("EnableKeyRotation", days.into_iter().collect())
}

/// The name that the object has; one that is made with `generateName` has none in the request itself.
fn name_of(request: &AdmissionRequest) -> String {
    let given = text(&request.object["metadata"]["name"]);
    if given.is_empty() {
        request.name.clone()
    } else {
        given
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::admission::{Kind, UserInfo};
    use super::*;

    fn request(kind: &str, old: Value, new: Value) -> AdmissionRequest {
        AdmissionRequest {
            uid: "r-1".to_owned(),
            kind: Kind {
                kind: kind.to_owned(),
            },
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            user_info: UserInfo {
                username: "ann".to_owned(),
                groups: vec!["devs".to_owned()],
                ..UserInfo::default()
            },
            object: new,
            old_object: old,
            ..AdmissionRequest::default()
        }
    }

    fn names(kind: &str, old: Value, new: Value) -> Vec<String> {
        let entries = entries(&request(kind, old, new));
        entries.into_iter().map(|entry| entry.event_name).collect()
    }

    #[test]
    fn each_administrative_change_of_a_key_is_the_call_that_does_the_same() {
        let key = |spec: Value| json!({"spec": spec});
        let changes = |old: Value, new: Value| names("ManagedKey", key(old), key(new));
        assert_eq!(
            names("ManagedKey", Value::Null, key(json!({}))),
            ["CreateKey"]
        );
        assert_eq!(changes(json!({}), json!({"enabled": true})), [""; 0]);
        assert_eq!(
            changes(json!({}), json!({"enabled": false})),
            ["DisableKey"]
        );
        assert_eq!(changes(json!({"enabled": false}), json!({})), ["EnableKey"]);
        assert_eq!(
            changes(json!({"deletion": {}}), json!({"policy": {}})),
            ["PutKeyPolicy", "CancelKeyDeletion"]
        );
        assert_eq!(
            changes(json!({}), json!({"deletion": {"pendingWindowDays": 7}})),
            ["ScheduleKeyDeletion"]
        );
        assert_eq!(
            changes(json!({}), json!({"rotation": {"periodDays": 90}})),
            ["EnableKeyRotation"]
        );
        assert_eq!(
            changes(json!({"rotation": {}}), json!({})),
            ["DisableKeyRotation"]
        );
        let off = json!({"rotation": {"enabled": false}});
        assert_eq!(
            changes(json!({"rotation": {}}), off),
            ["DisableKeyRotation"]
        );
        let token =
            |token: &str| json!({"metadata": {"annotations": {"keystead.dev/rotate": token}}});
        assert_eq!(
            names("ManagedKey", token("1"), token("2")),
            ["RotateKeyOnDemand"]
        );
        assert_eq!(names("ManagedKey", token("1"), json!({})), [""; 0]);
    }

    #[test]
    fn a_grant_and_an_alias_are_told_with_the_key_that_they_are_about() {
        let grant = json!({"spec": {"keyRef": {"name": "cards"}, "granteePrincipal": "bob", "operations": ["Sign", "Verify"]}});
        let told = entries(&request("KeyGrant", Value::Null, grant));
        let [line] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(
            (line.event_name.as_str(), line.user_identity.user.as_str()),
            ("CreateGrant", "ann")
        );
        assert_eq!(line.resources[0].name, "cards");
        assert_eq!(line.request_parameters.other["operations"], "Sign,Verify");
        let alias = |key: &str| json!({"spec": {"keyRef": {"name": key}}});
        assert_eq!(names("KeyAlias", Value::Null, alias("a")), ["CreateAlias"]);
        assert_eq!(names("KeyAlias", alias("a"), alias("b")), ["UpdateAlias"]);
        assert_eq!(names("KeyAlias", alias("a"), alias("a")), [""; 0]);
        assert_eq!(names("Pod", Value::Null, json!({})), [""; 0]);
    }
}
