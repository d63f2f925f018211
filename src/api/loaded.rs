//! The condition of a pod that says which version of each secret it has. The server writes it; whoever counts pods reads it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::names::POD_CONDITION_LOADED;

/// Longest message of the condition, in bytes.
const MAX_MESSAGE: usize = 1024;
/// What is between two secrets.
const BETWEEN: &str = ", ";
/// What a message ends with that would be longer.
const CUT: &str = ", ...";

/// The condition of a pod, if it has it.
pub(crate) fn condition(pod: &Pod) -> Option<&PodCondition> {
    let status = pod.status.iter();
    let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|condition| condition.type_ == POD_CONDITION_LOADED)
}

/// `orders-db=<version id>, ...`, by name. Whole entries only.
pub(crate) fn message(secrets: &BTreeMap<String, String>) -> String {
    let mut message = String::new();
    let mut entries = secrets.iter().peekable();
    while let Some((name, version)) = entries.next() {
        let separator = if message.is_empty() { "" } else { BETWEEN };
        let entry = format!("{separator}{name}={version}");
        let reserve = if entries.peek().is_some() {
            CUT.len()
        } else {
            0
        };
        if message.len() + entry.len() + reserve > MAX_MESSAGE {
            message.push_str(CUT);
            break;
        }
        message.push_str(&entry);
    }
    message
}

/// The version of each secret that a pod is said to have. Nothing of it is checked: whoever may write a pod's status may say
/// anything.
pub(crate) fn loaded(pod: &Pod) -> BTreeMap<&str, &str> {
    let held = condition(pod).filter(|condition| condition.status == "True");
    let message = held.and_then(|condition| condition.message.as_deref());
    let entries = message.into_iter().flat_map(|text| text.split(BETWEEN));
    entries.filter_map(|entry| entry.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VERSION: &str = "1b4e28ba-2fa1-4d1c-8d8a-1f2e3d4c5b6a";
    const NEXT: &str = "6fa459ea-ee8a-4ca4-894e-db77e160355e";

    fn secrets(secrets: &[(&str, &str)]) -> BTreeMap<String, String> {
        let secrets = secrets.iter();
        secrets
            .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
            .collect()
    }

    fn pod(status: &str, message: &str) -> Pod {
        serde_json::from_value(json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "message": format!("db={NEXT}")},
            {"type": POD_CONDITION_LOADED, "status": status, "message": message},
        ]}}))
        .unwrap()
    }

    #[test]
    fn the_message_is_in_order_and_cut_between_secrets() {
        let two = secrets(&[("db", VERSION), ("cache", NEXT)]);
        assert_eq!(message(&two), format!("cache={NEXT}, db={VERSION}"));
        assert_eq!(message(&BTreeMap::new()), "");
        let many: BTreeMap<_, _> = (0..64)
            .map(|n| (format!("secret-{n:02}"), VERSION.to_owned()))
            .collect();
        let cut = message(&many);
        assert!(
            (MAX_MESSAGE - 64..=MAX_MESSAGE).contains(&cut.len()),
            "{}",
            cut.len()
        );
        assert!(cut.ends_with(&format!("={VERSION}, ...")), "{cut}");
    }

    #[test]
    fn what_is_written_is_read_as_far_as_it_was_written() {
        let two = secrets(&[("db", VERSION), ("cache", NEXT)]);
        let told = pod("True", &message(&two));
        assert_eq!(
            loaded(&told),
            BTreeMap::from([("db", VERSION), ("cache", NEXT)])
        );
        let cut = pod("True", &format!("{}{CUT}", message(&two)));
        assert_eq!(loaded(&cut).len(), 2);
        for nothing in [
            pod("False", &message(&two)),
            pod("True", ""),
            pod("True", "db"),
            Pod::default(),
        ] {
            assert_eq!(loaded(&nothing), BTreeMap::new());
        }
    }
}
