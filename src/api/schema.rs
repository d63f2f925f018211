//! Schemas that derive cannot say: bounded maps, and the status that a new object is born with.

use kube::core::{Message, Rule};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// What the name of an object may be: a DNS subdomain (RFC 1123).
pub(super) const OBJECT_NAME: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// What the name of a namespace may be: a DNS label (RFC 1123).
pub(super) const NAMESPACE_NAME: &str = r"^[a-z0-9]+(-+[a-z0-9]+)*$";

/// What the text form of a public sealing key looks like, beside its length; its checksum is verified when it is used.
pub(super) const SEALING_KEY_TEXT: &str = r"^kssk1_[A-Za-z0-9_-]+$";

/// Most bytes in one literal or one template (characters in the schema).
pub(super) const MAX_TEXT: u32 = 65_536;

/// A map of at most 64 texts of at most [`MAX_TEXT`] characters: literals.
pub(super) fn texts(_: &mut SchemaGenerator) -> Schema {
    bounded_map(64, MAX_TEXT)
}

/// A map of at most 16 pairs of at most 1,024 characters: the user's encryption context.
pub(super) fn encryption_context(_: &mut SchemaGenerator) -> Schema {
    bounded_map(16, 1024)
}

/// A map of at most 20 labels to the ids of versions.
pub(super) fn version_stages(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 20,
        "additionalProperties": {
            "type": "string",
            "maxLength": 36,
            "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        },
    })
}

/// A map of at most 32 labels.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        },
    })
}

/// A map of at most 32 annotations of at most 4,096 characters.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    bounded_map(32, 4096)
}

/// A map of at most 8 pairs of at most 256 characters: a context that a policy or a grant asks for.
pub(super) fn context_condition(_: &mut SchemaGenerator) -> Schema {
    bounded_map(8, 256)
}

/// The rule for the names of an encryption context's pairs where a policy or a grant asks for them.
pub(super) fn context_names() -> Rule {
    Rule::new(
        "self.all(k, size(k) > 0 && size(k) <= 256 && !k.startsWith('keystead:') && !k.startsWith('aws-crypto-'))",
    )
    .message("names have 1 to 256 characters and do not start with 'keystead:' or 'aws-crypto-', which are reserved")
}

fn bounded_map(max_properties: u32, max_length: u32) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": max_properties,
        "additionalProperties": { "type": "string", "maxLength": max_length },
    })
}

/// What the name of a key may be, namely what the data of a native Secret allows, and the remedy.
pub(super) const KEY_NAMES: &str = "a key has 1 to 253 letters, digits, '-', '_' and '.', is not '.' and does not begin with '..': rename it";

/// The rule for the names of keys, in a map or a list of them. Its message shows the first name that breaks it.
pub(super) fn key_names() -> Rule {
    let refused = "!k.matches('^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$') || size(k) > 253";
    let message =
        format!("'key \"' + self.filter(k, {refused})[0] + \"\\\" is not allowed: {KEY_NAMES}\"");
    Rule::new(format!("!self.exists(k, {refused})")).message(Message::Expression(message))
}

/// The status a new object has before anybody looked: `Ready=Unknown, Pending`, so that
/// `kubectl wait`, Helm and Flux never take a new object for a healthy one.
pub(super) fn pending_status() -> Value {
    json!({
        "conditions": [{
            "type": super::ConditionType::Ready.as_str(),
            "status": "Unknown",
            "reason": super::Reason::Pending.as_str(),
            "message": "Waiting for the controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }],
    })
}

/// Drops an enum's own description where it is the type of a field: kube puts it over the field's, and so `kubectl
/// explain` would not say what the field means.
pub(super) fn without_description(schema: &mut Schema) {
    schema.remove("description");
}
