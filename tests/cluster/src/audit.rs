//! The API server's audit log as data: who did what, and whether anything was written at all.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the API server records.
#[derive(Debug, Clone, Default)]
pub enum Audit {
    /// Nothing.
    Off,
    /// Every request, read or write, without bodies.
    #[default]
    Metadata,
    /// An `audit.k8s.io/v1` Policy.
    Policy(Value),
}

impl Audit {
    pub(crate) fn policy(&self) -> Option<Value> {
        match self {
            Self::Off => None,
            Self::Metadata => Some(json!({
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived"],
                "rules": [{"level": "Metadata"}],
            })),
            Self::Policy(policy) => Some(policy.clone()),
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// Joins the stages of one request.
    pub audit_id: String,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`, `get`, `list`, `watch`, ...
    pub verb: String,
    /// Who asked.
    pub user: String,
    /// The groups of who asked.
    pub groups: Vec<String>,
    /// What program asked.
    pub user_agent: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural, empty for requests that name no resource.
    pub resource: String,
    /// `status`, `token`, ..., or empty.
    pub subresource: String,
    /// Empty for cluster-scoped resources.
    pub namespace: String,
    /// Empty for lists and for objects that get their name from the server.
    pub name: String,
    /// HTTP status, 0 before there is one.
    pub code: u16,
    /// `ResponseComplete`, `ResponseStarted` (watches), `Panic`.
    pub stage: String,
    /// Path and query.
    pub request_uri: String,
    /// When the request arrived.
    pub request_time: Timestamp,
    /// The event as written, with bodies if the policy asks for them.
    pub raw: Value,
}

impl AuditEvent {
    /// Whether the request is answered.
    pub fn is_complete(&self) -> bool {
        self.stage == "ResponseComplete"
    }

    /// Whether the verb changes objects.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// An answered request that changed an object: not refused, not a dry run, and not one of the
    /// reviews and tokens that are created without being stored.
    pub fn is_completed_write(&self) -> bool {
        self.is_complete()
            && self.is_write()
            && (200..300).contains(&self.code)
            && !self.request_uri.contains("dryRun=")
            && !self.resource.ends_with("reviews")
            && self.subresource != "token"
    }
}

/// A place in the audit log; the default is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditMark(u64);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Line {
    #[serde(rename = "auditID")]
    audit_id: String,
    verb: String,
    user: User,
    user_agent: String,
    object_ref: ObjectRef,
    response_status: Status,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    request_received_timestamp: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    groups: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: u16,
}

/// The end of the log now.
pub(crate) fn mark(log: &Path) -> AuditMark {
    AuditMark(fs::metadata(log).map_or(0, |log| log.len()))
}

/// The events after a mark. A line that is still being written is left for the next call.
pub(crate) fn since(log: &Path, AuditMark(mark): AuditMark) -> Result<Vec<AuditEvent>> {
    let bytes = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    let start = usize::try_from(mark)?.min(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
        .max(start);
    bytes[start..end]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect()
}

fn parse(line: &[u8]) -> Result<AuditEvent> {
    let raw: Value = serde_json::from_slice(line).context("parse an audit event")?;
    let line: Line = serde_json::from_value(raw.clone()).context("read an audit event")?;
    Ok(AuditEvent {
        audit_id: line.audit_id,
        verb: line.verb,
        user: line.user.username,
        groups: line.user.groups,
        user_agent: line.user_agent,
        group: line.object_ref.api_group,
        resource: line.object_ref.resource,
        subresource: line.object_ref.subresource,
        namespace: line.object_ref.namespace,
        name: line.object_ref.name,
        code: line.response_status.code,
        stage: line.stage,
        request_uri: line.request_uri,
        request_time: line
            .request_received_timestamp
            .context("an audit event has a time")?,
        raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = r#"{"auditID":"a","verb":"create","stage":"ResponseComplete",
        "requestURI":"/api/v1/namespaces/n/secrets","user":{"username":"u","groups":["g"]},
        "objectRef":{"resource":"secrets","namespace":"n","name":"s","apiVersion":"v1"},
        "responseStatus":{"metadata":{},"code":201},
        "requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z"}"#;

    fn log(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn an_event_is_read_with_its_object_and_code() {
        let (_dir, path) = log(&(CREATE.replace('\n', "") + "\n"));
        let events = since(&path, AuditMark(0)).unwrap();
        let event = &events[0];
        assert_eq!(
            (event.resource.as_str(), event.name.as_str(), event.code),
            ("secrets", "s", 201)
        );
        assert!(event.is_completed_write());
    }

    #[test]
    fn a_half_written_line_waits_for_its_end() {
        let line = CREATE.replace('\n', "");
        let (_dir, path) = log(&format!("{line}\n{}", &line[..40]));
        assert_eq!(since(&path, AuditMark(0)).unwrap().len(), 1);
    }

    #[test]
    fn only_what_comes_after_the_mark_is_returned() {
        let line = CREATE.replace('\n', "") + "\n";
        let (_dir, path) = log(&line);
        let here = mark(&path);
        fs::write(&path, line.clone() + &line.replace("\"s\"", "\"t\"")).unwrap();
        let names: Vec<_> = since(&path, here)
            .unwrap()
            .into_iter()
            .map(|event| event.name)
            .collect();
        assert_eq!(names, ["t"]);
    }

    #[test]
    fn refused_writes_dry_runs_and_reviews_changed_nothing() {
        for (from, to) in [
            ("\"code\":201", "\"code\":403"),
            ("n/secrets\"", "n/secrets?dryRun=All\""),
            (
                "\"resource\":\"secrets\"",
                "\"resource\":\"subjectaccessreviews\"",
            ),
            ("\"verb\":\"create\"", "\"verb\":\"get\""),
        ] {
            assert!(CREATE.contains(from), "{from}");
            let event = parse(CREATE.replace(from, to).as_bytes()).unwrap();
            assert!(!event.is_completed_write(), "{to}");
        }
    }
}
