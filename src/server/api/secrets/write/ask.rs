//! Asks the controller for a change, by a `SecretChange`, and waits for its answer.
//!
//! A call that is tried again while the first try is under way meets the same object, since its name follows from what is asked. An
//! answered one says nothing about now, so that then another one is made: the truth tells the controller what was done already.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::PostParams;
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::warn;

use super::super::read::Reader;
use super::super::stage;
use super::allow::Allowed;
use super::parameters::Wish;
use crate::api::names::FIELD_MANAGER;
use crate::api::{ChangeError, SecretChange, SecretChangeSpec, SecretChangeStatus};
use crate::calling::within;
use crate::hex::Hex;
use crate::keys::SecretUser;
use crate::secrets::{SecretValue, Stage, change_context};
use crate::server::api::error::ApiError;
use crate::telling::describe;

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the controller may take: that of a leader that was just killed has another after some fifteen seconds.
const LONGEST: Duration = Duration::from_secs(20);
/// How long to wait before it is first looked whether there is an answer; each time twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait between two looks.
const BETWEEN: Duration = Duration::from_millis(500);
/// Bytes of the hash in a name.
const NAME_BYTES: usize = 20;

/// The controller, to be asked.
pub(in crate::server::api) struct Asking {
    changes: Api<SecretChange>,
}

impl Asking {
    /// By objects in the operator's namespace.
    pub(in crate::server::api) fn new(client: Client, namespace: &str) -> Self {
        Self {
            changes: Api::namespaced(client, namespace),
        }
    }

    /// Asks for a change, and waits for it; the stages that the version has since.
    ///
    /// # Errors
    /// The controller refuses it, or has not answered in time.
    pub(super) async fn ask(
        &self,
        reader: &Reader,
        allowed: Allowed,
        wish: &Wish,
        request_id: &str,
    ) -> Result<Vec<String>, ApiError> {
        let deadline = Instant::now() + LONGEST;
        let Allowed { spec, user } = allowed;
        let name = name_of(&spec);
        let asked = match self.make(&name, &spec).await? {
            Some(change) => change,
            None => match self.get(&name).await? {
                Some(before) if is_same(&before, &spec, wish, reader, &user) => before,
                _ => {
                    self.make_another(&format!("{name}-{request_id}"), &spec)
                        .await?
                }
            },
        };
        self.wait(&asked, deadline).await
    }

    /// Makes the object; `None`: there is one of that name.
    async fn make(
        &self,
        name: &str,
        spec: &SecretChangeSpec,
    ) -> Result<Option<SecretChange>, ApiError> {
        let change = SecretChange::new(name, spec.clone());
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match within(PATIENCE, self.changes.create(&params, &change)).await {
            Ok(change) => Ok(Some(change)),
            Err(kube::Error::Api(status)) if Status::is_already_exists(&status) => Ok(None),
            Err(error) => {
                let error = describe(&error);
                warn!(error, "the controller could not be asked for a change");
                Err(ApiError::unanswered())
            }
        }
    }

    /// Makes one of a name that no other call has. One that is there is this call's: the first try was not answered, and done.
    async fn make_another(
        &self,
        name: &str,
        spec: &SecretChangeSpec,
    ) -> Result<SecretChange, ApiError> {
        match self.make(name, spec).await? {
            Some(change) => Ok(change),
            None => self.get(name).await?.ok_or_else(not_answered),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<SecretChange>, ApiError> {
        let found = within(PATIENCE, self.changes.get_opt(name)).await;
        found.map_err(|error| {
            let error = describe(&error);
            warn!(error, "a change could not be looked at");
            ApiError::unanswered()
        })
    }

    /// Waits for the answer.
    async fn wait(&self, asked: &SecretChange, deadline: Instant) -> Result<Vec<String>, ApiError> {
        let (name, mut pause) = (asked.name_any(), FIRST);
        while Instant::now() + pause < deadline {
            sleep(pause).await;
            pause = (pause * 2).min(BETWEEN);
            // An API server that does not answer for a moment is asked again.
            let Ok(found) = self.get(&name).await else {
                continue;
            };
            let found = found.filter(|found| found.metadata.uid == asked.metadata.uid);
            let status = found.ok_or_else(not_answered)?.status;
            if let Some(status) = status.filter(SecretChangeStatus::is_answered) {
                return answered(status);
            }
        }
        Err(not_answered())
    }
}

fn not_answered() -> ApiError {
    ApiError::unavailable(
        "the controller has not answered in time; it may do it yet. Try again with the same ClientRequestToken: it is done once",
    )
}

/// What the controller says, as the caller is told.
fn answered(status: SecretChangeStatus) -> Result<Vec<String>, ApiError> {
    if status.done == Some(true) {
        let stages = status.stages.iter();
        let stages = stages.filter_map(|stage| stage.parse::<Stage>().ok());
        return Ok(stages.map(|stage| stage::name(&stage)).collect());
    }
    let message = status.message.unwrap_or_default();
    Err(match status.code {
        Some(ChangeError::InvalidParameterException) => ApiError::invalid_parameter(message),
        Some(ChangeError::InvalidRequestException) => ApiError::invalid_request(message),
        Some(ChangeError::ResourceExistsException) => ApiError::resource_exists(message),
        Some(ChangeError::ResourceNotFoundException) => ApiError::not_found(message),
        Some(ChangeError::ServiceUnavailableException) => ApiError::unavailable(message),
        None => ApiError::internal("the controller refused it, and did not say why"),
    })
}

/// The name of the object by which that is asked: the same for the same call.
fn name_of(spec: &SecretChangeSpec) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    };
    add(&spec.namespace_uid);
    add(&spec.object_uid);
    let kind = match (&spec.put, &spec.move_stage) {
        (Some(put), _) => {
            add(&put.version_id);
            add(put.stage.as_str());
            "put"
        }
        (None, moved) => {
            let moved = moved.as_ref();
            add(moved.map_or("", |moved| moved.stage.as_str()));
            for id in [
                moved.and_then(|moved| moved.move_to_version_id.as_deref()),
                moved.and_then(|moved| moved.remove_from_version_id.as_deref()),
            ] {
                add(id.unwrap_or_default());
            }
            "move"
        }
    };
    let hash = hash.finalize();
    format!("{kind}-{}", Hex(&hash[..NAME_BYTES]))
}

/// Whether what was asked before is the same, and is not answered yet.
fn is_same(
    before: &SecretChange,
    spec: &SecretChangeSpec,
    wish: &Wish,
    reader: &Reader,
    user: &SecretUser,
) -> bool {
    let status = before.status.as_ref();
    let is_open = !status.is_some_and(SecretChangeStatus::is_answered);
    let place = |spec: &SecretChangeSpec| {
        (
            spec.namespace.clone(),
            spec.name.clone(),
            spec.namespace_uid.clone(),
            spec.object_uid.clone(),
        )
    };
    if !is_open || place(&before.spec) != place(spec) {
        return false;
    }
    match (wish, &before.spec.put) {
        (Wish::Move(moved), None) => before.spec.move_stage.as_ref() == Some(moved),
        (
            Wish::Put {
                version,
                stage,
                value,
            },
            Some(put),
        ) => {
            let is_as = put.version_id == version.as_str() && put.stage == *stage;
            let opened = opened(&before.spec, reader, user);
            is_as && opened.is_some_and(|opened| opened == *value && opened.text() == value.text())
        }
        _ => false,
    }
}

/// What was put before. Each time it is another ciphertext.
fn opened(before: &SecretChangeSpec, reader: &Reader, user: &SecretUser) -> Option<SecretValue> {
    let put = before.put.as_ref()?;
    let version = put.version_id.parse().ok()?;
    let context = change_context(&before.namespace, &before.name, &version).ok()?;
    let envelope = STANDARD.decode(&put.value).ok()?;
    let opened = reader.keyring.open(&envelope, user, &context).ok()?;
    SecretValue::decode(opened.result.expose()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(more: &serde_json::Value) -> SecretChangeSpec {
        let mut spec = json!({"namespace": "shop", "name": "db", "namespaceUid": "n", "objectUid": "o", "user": "ann"});
        let more = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(more);
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn the_same_call_has_the_same_name_and_every_other_another() {
        let put = |version: &str, stage: &str, value: &str| {
            name_of(&spec(
                &json!({"put": {"versionId": version, "stage": stage, "value": value}}),
            ))
        };
        let moved = |to: Option<&str>, from: Option<&str>| {
            let moved =
                json!({"stage": "Current", "moveToVersionId": to, "removeFromVersionId": from});
            name_of(&spec(&json!({"moveStage": moved})))
        };
        let name = put("a", "Current", "x");
        assert_eq!(name, put("a", "Current", "another ciphertext of it"));
        assert!(crate::api::names::is_object_name(&name), "{name}");
        let names = [
            name,
            put("b", "Current", "x"),
            put("a", "Pending", "x"),
            moved(Some("a"), None),
            moved(None, Some("a")),
            moved(Some("a"), Some("b")),
            name_of(&spec(
                &json!({"objectUid": "p", "put": {"versionId": "a", "stage": "Current", "value": "x"}}),
            )),
        ];
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn the_answer_of_the_controller_is_told_by_the_names_of_aws() {
        let status = |json| serde_json::from_value::<SecretChangeStatus>(json).unwrap();
        let done = answered(status(json!({"done": true, "stages": ["Current", "blue"]})));
        assert_eq!(done.unwrap(), ["AWSCURRENT", "blue"]);
        for code in [
            "InvalidParameterException",
            "InvalidRequestException",
            "ResourceExistsException",
            "ResourceNotFoundException",
            "ServiceUnavailableException",
        ] {
            let refused = status(json!({"done": false, "code": code, "message": "why"}));
            let error = answered(refused).unwrap_err();
            assert_eq!((error.code, &*error.message), (code, "why"));
        }
        assert_eq!(
            answered(status(json!({"done": false}))).unwrap_err().code,
            "InternalFailure"
        );
    }
}
