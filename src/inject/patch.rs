//! The difference of two pods as a JSON patch (RFC 6902).
//!
//! An object that a webhook was sent may have fields that this program does not know, so that only what differs is named: a list is
//! changed where its members differ, by their names, and never replaced as a whole.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

/// What turns one pod into another: a list of operations, empty if they are equal.
pub fn patch(from: &Pod, to: &Pod) -> Value {
    let value = |pod: &Pod| {
        serde_json::to_value(pod).expect("a pod came from JSON and can be written as JSON")
    };
    let mut operations = Vec::new();
    compare("", &value(from), &value(to), &mut operations);
    Value::Array(operations)
}

fn compare(at: &str, from: &Value, to: &Value, operations: &mut Vec<Value>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Value::Object(from), Value::Object(to)) => compare_objects(at, from, to, operations),
        (Value::Array(from), Value::Array(to)) => compare_lists(at, from, to, operations),
        _ => operations.push(json!({"op": "replace", "path": at, "value": to})),
    }
}

fn compare_objects(
    at: &str,
    from: &Map<String, Value>,
    to: &Map<String, Value>,
    operations: &mut Vec<Value>,
) {
    for field in from.keys().filter(|field| !to.contains_key(*field)) {
        operations.push(json!({"op": "remove", "path": below(at, field)}));
    }
    for (field, value) in to {
        let at = below(at, field);
        match from.get(field) {
            Some(earlier) => compare(&at, earlier, value, operations),
            None => operations.push(json!({"op": "add", "path": at, "value": value})),
        }
    }
}

/// Goes through both lists at once, with the index that a member has once all operations so far were done.
fn compare_lists(at: &str, from: &[Value], to: &[Value], operations: &mut Vec<Value>) {
    let mut from = from.iter().peekable();
    let mut index = 0;
    for (position, member) in to.iter().enumerate() {
        while let Some(earlier) = from.peek() {
            let stays = to[position..].iter().any(|later| is_same(earlier, later));
            if stays {
                break;
            }
            operations.push(json!({"op": "remove", "path": below(at, &index.to_string())}));
            from.next();
        }
        let place = below(at, &index.to_string());
        match from.next_if(|earlier| is_same(earlier, member)) {
            Some(earlier) => compare(&place, earlier, member, operations),
            None => operations.push(json!({"op": "add", "path": place, "value": member})),
        }
        index += 1;
    }
    for _ in from {
        operations.push(json!({"op": "remove", "path": below(at, &index.to_string())}));
    }
}

/// Whether one became the other, rather than having been put in its place.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.get("name"), other.get("name")) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn below(at: &str, field: &str) -> String {
    format!("{at}/{}", field.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operations(from: &Value, to: &Value) -> Value {
        let mut operations = Vec::new();
        compare("", from, to, &mut operations);
        Value::Array(operations)
    }

    #[test]
    fn a_member_that_is_put_first_moves_nothing() {
        let from = json!({"list": [{"name": "a", "x": 1}, {"name": "b"}]});
        let to = json!({"list": [{"name": "new"}, {"name": "a", "x": 2}, {"name": "b"}]});
        let expected = json!([
            {"op": "add", "path": "/list/0", "value": {"name": "new"}},
            {"op": "replace", "path": "/list/1/x", "value": 2},
        ]);
        assert_eq!(operations(&from, &to), expected);
    }

    #[test]
    fn names_of_fields_are_escaped() {
        let to = json!({"metadata": {"annotations": {"keystead.dev/a~b": "c"}}});
        let from = json!({"metadata": {"annotations": {}}});
        let expected = json!([{"op": "add", "path": "/metadata/annotations/keystead.dev~1a~0b", "value": "c"}]);
        assert_eq!(operations(&from, &to), expected);
    }

    #[test]
    fn equal_pods_need_nothing() {
        assert_eq!(patch(&Pod::default(), &Pod::default()), json!([]));
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (0..3i32).prop_map(Value::from),
            "[a-c~/]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 5, |inner| {
            let object = proptest::collection::btree_map("[a-b~/]{1,2}|name", inner.clone(), 0..4)
                .prop_map(|fields| json!(fields));
            prop_oneof![
                proptest::collection::vec(inner, 0..5).prop_map(Value::from),
                object
            ]
        })
    }

    proptest! {
        #[test]
        fn the_operations_lead_from_one_to_the_other(from in anything(), to in anything()) {
            let patch: json_patch::Patch = serde_json::from_value(operations(&from, &to)).unwrap();
            let mut patched = from;
            json_patch::patch(&mut patched, &patch).unwrap();
            prop_assert_eq!(patched, to);
        }
    }
}
