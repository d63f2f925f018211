//! `spec.sealed`: values that were encrypted before they reached the resource.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Most characters of one entry, base64: an envelope of the largest value for ten recipients.
pub(super) const MAX_ENTRY: u32 = 368_640;

/// A map of at most 64 envelopes.
pub(super) fn entries(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_ENTRY,
            "pattern": "^[A-Za-z0-9+/]+={0,2}$",
        },
    })
}
