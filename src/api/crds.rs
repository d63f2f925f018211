//! The definitions of all kinds, as the API server gets them.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use sha2::{Digest, Sha256};

use super::names::{
    ANNOTATION_SCHEMA_HASH, GUARD_ENABLED, LABEL_GUARD, LABEL_MANAGED_BY, MANAGED_BY,
};
use super::{
    KeyAlias, KeyGrant, KeyMaterial, ManagedKey, ManagedSecret, RotationSchedule, SecretChange,
    schema,
};
use crate::hex::Hex;

/// All definitions, in a stable order, each with its hash and the guard's label.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        ManagedKey::crd(),
        KeyAlias::crd(),
        KeyGrant::crd(),
        ManagedSecret::crd(),
        RotationSchedule::crd(),
        KeyMaterial::crd(),
        SecretChange::crd(),
    ];
    for crd in &mut all {
        tidy(crd);
        default_status(crd);
        label(crd);
    }
    all
}

/// Drops `nullable`, which the derive gives to every optional field (a null would be kept, and would
/// stand in the way of the field being absent), and formats that the API server does not know. Gives
/// a rule whose message is an expression a plain one too, which the derive cannot.
fn tidy(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        if let Some(root) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        {
            tidy_schema(root);
        }
    }
}

fn tidy_schema(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.format.take_if(|format| format.starts_with("uint"));
    for rule in schema.x_kubernetes_validations.iter_mut().flatten() {
        if rule.rule == schema::key_names().rule {
            rule.message = Some(schema::KEY_NAMES.to_owned());
        }
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        tidy_schema(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy_schema(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy_schema(values);
    }
}

/// Gives the kinds whose status has conditions the one they are born with.
fn default_status(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let root = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut());
        let properties = root.and_then(|r| r.properties.as_mut());
        let Some(status) = properties.and_then(|p| p.get_mut("status")) else {
            continue;
        };
        let parts = status.properties.as_ref();
        if parts.is_some_and(|parts| parts.contains_key("conditions")) {
            status.default = Some(JSON(schema::pending_status()));
        }
    }
}

fn label(crd: &mut CustomResourceDefinition) {
    let spec = serde_json::to_vec(&crd.spec).expect("a definition is plain data");
    let hash = Hex(&Sha256::digest(&spec)[..16]).to_string();
    let labels = crd.metadata.labels.get_or_insert_default();
    labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
    labels.insert(LABEL_GUARD.to_owned(), GUARD_ENABLED.to_owned());
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_SCHEMA_HASH.to_owned(), hash);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `look` with every part of a schema and its path.
    fn walk(path: &str, schema: &JSONSchemaProps, look: &mut dyn FnMut(&str, &JSONSchemaProps)) {
        look(path, schema);
        for (name, property) in schema.properties.iter().flatten() {
            walk(&format!("{path}.{name}"), property, look);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(&format!("{path}[]"), items, look);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            walk(&format!("{path}.*"), values, look);
        }
    }

    /// The spec of every kind.
    fn specs() -> Vec<(String, JSONSchemaProps)> {
        let spec = |crd: CustomResourceDefinition| {
            let kind = crd.spec.names.kind.clone();
            let version = crd.spec.versions.into_iter().next()?;
            let root = version.schema?.open_api_v3_schema?;
            Some((kind, root.properties?.remove("spec")?))
        };
        crds().into_iter().filter_map(spec).collect()
    }

    #[test]
    fn everything_of_a_spec_has_a_bound() {
        let specs = specs();
        assert_eq!(specs.len(), 7);
        let mut texts = 0;
        for (kind, spec) in specs {
            walk(
                &kind,
                &spec,
                &mut |path, schema| match schema.type_.as_deref() {
                    Some("string") => {
                        texts += 1;
                        let date = schema.format.as_deref() == Some("date-time");
                        let bound = schema.max_length.is_some() || schema.enum_.is_some() || date;
                        assert!(bound, "{path}: a text without maxLength");
                    }
                    Some("array") => assert!(
                        schema.max_items.is_some(),
                        "{path}: a list without maxItems"
                    ),
                    Some("object") if schema.additional_properties.is_some() => {
                        assert!(
                            schema.max_properties.is_some(),
                            "{path}: a map without maxProperties"
                        );
                    }
                    _ => {}
                },
            );
        }
        assert!(texts > 20, "the texts were not found: {texts}");
    }

    #[test]
    fn every_rule_says_what_it_asks_for() {
        let mut rules = 0;
        for (kind, spec) in specs() {
            walk(&kind, &spec, &mut |path, schema| {
                for rule in schema.x_kubernetes_validations.iter().flatten() {
                    rules += 1;
                    assert!(rule.message.is_some(), "{path}: {}", rule.rule);
                }
            });
        }
        assert!(rules > 10, "the rules were not found: {rules}");
    }
}
