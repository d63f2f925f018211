//! What may be said of an error of the API server. Its own text is not repeated: it may quote what was sent or
//! received, and that can be a value.

use kube::runtime::watcher;

use crate::calling::NoAnswer;

/// An error of the API server in words that cannot contain a value: code, reason, fields. The whole
/// message only where it speaks of rights and quotas.
pub fn describe(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return match error {
            kube::Error::Service(error) => error
                .downcast_ref::<NoAnswer>()
                .map_or_else(|| "cannot be reached".to_owned(), NoAnswer::to_string),
            kube::Error::HyperError(_) => "cannot be reached".to_owned(),
            _ => "the answer could not be read".to_owned(),
        };
    };
    if status.is_forbidden() {
        return status.message.clone();
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<_> = causes
        .map(|c| c.field.as_str())
        .filter(|f| !f.is_empty())
        .take(8)
        .collect();
    let mut text = format!("{} ({})", status.reason, status.code);
    if !fields.is_empty() {
        text.push_str(" at ");
        text.push_str(&fields.join(", "));
    }
    text
}

/// An error of a watch in words that cannot contain a value.
pub fn describe_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => describe(error),
        watcher::Error::WatchError(status) => format!("{} ({})", status.reason, status.code),
        watcher::Error::NoResourceVersion => "no resource version".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_quoted() {
        let answer = r#"{"data": {"key": "C4N4RY"}}"#;
        let error = serde_json::from_str::<Vec<u8>>(answer).unwrap_err();
        let told = describe(&kube::Error::SerdeError(error));
        assert_eq!(told, "the answer could not be read");
        let error = serde_json::from_str::<u8>("\"C4N4RY\"").unwrap_err();
        assert!(
            error.to_string().contains("C4N4RY"),
            "the library's own text quotes: {error}"
        );
        let error = watcher::Error::WatchFailed(kube::Error::SerdeError(error));
        assert!(!describe_watch(&error).contains("C4N4RY"));
    }
}
