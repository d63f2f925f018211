//! The calls of AWS Secrets Manager about secrets that exist: those that read, and those that change a value.

mod access;
mod answer;
mod look;
mod password;
mod read;
mod record;
mod select;
mod stage;
mod write;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use look::Store;
pub(super) use read::Reader;
pub(super) use select::Selector;
pub(super) use write::{Asking, Turns};

use self::answer::{Written, written};
use self::read::{Asked, Found, Opened};
use super::Caller;
use super::calls::SecretCall;
use super::error::ApiError;
use super::places::{Accounts, SecretPlace};
use super::wire::{Answer, answer, parameters, seconds};
use crate::policy::SecretAction;
use crate::secrets::{Manifest, Stage, VersionRecord};
use crate::truth::Stored;

/// Most secrets of one `BatchGetSecretValue`; as in AWS.
const MAX_BATCH: usize = 20;

/// The calls about secrets.
pub(super) struct Secrets {
    pub(super) reader: Reader,
    pub(super) accounts: Accounts,
    pub(super) asking: Asking,
    pub(super) turns: Turns,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeSecret {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListSecretVersionIds {
    secret_id: String,
    #[serde(default)]
    include_deprecated: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchGetSecretValue {
    secret_id_list: Option<Vec<String>>,
    filters: Option<Value>,
}

/// A version with its value, as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SecretValueEntry<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
    version_id: &'a str,
    version_stages: Vec<String>,
    created_date: f64,
    #[serde(flatten)]
    value: Written<'a>,
}

impl Secrets {
    /// Answers a call.
    pub(super) async fn call(
        &self,
        call: SecretCall,
        caller: Caller<'_>,
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        match call {
            SecretCall::GetSecretValue => self.get_secret_value(caller, body).await,
            SecretCall::BatchGetSecretValue => self.batch_get_secret_value(caller, body).await,
            SecretCall::DescribeSecret => self.describe_secret(caller, body).await,
            SecretCall::ListSecretVersionIds => self.list_secret_version_ids(caller, body).await,
            SecretCall::GetRandomPassword => password::get_random_password(body),
            SecretCall::PutSecretValue => self.put_secret_value(caller, body).await,
            SecretCall::UpdateSecretVersionStage => {
                self.update_secret_version_stage(caller, body).await
            }
        }
    }

    async fn get_secret_value(&self, caller: Caller<'_>, body: &[u8]) -> Result<Answer, ApiError> {
        let asked: GetSecretValue = parameters(body)?;
        let (version, stage) = (asked.version_id.as_deref(), asked.version_stage.as_deref());
        let selector = Selector::of(version, stage)?;
        let opened = self.value(caller, &asked.secret_id, &selector).await?;
        answer(&self.entry(&opened)?)
    }

    /// A version of a secret, with its value.
    pub(super) async fn value(
        &self,
        caller: Caller<'_>,
        id: &str,
        selector: &Selector,
    ) -> Result<Opened, ApiError> {
        let place = self.accounts.secret(id, caller.who).await?;
        let asked = asked(caller, id, &place, SecretAction::GetSecretValue);
        self.reader.value(asked, selector).await
    }

    /// One after the other: each is decided and written down as a call of its own.
    async fn batch_get_secret_value(
        &self,
        caller: Caller<'_>,
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        let asked: BatchGetSecretValue = parameters(body)?;
        if asked.filters.is_some() {
            let message = "Filters are not taken: name the secrets in SecretIdList";
            return Err(ApiError::invalid_parameter(message));
        }
        let ids = asked.secret_id_list.unwrap_or_default();
        if !(1..=MAX_BATCH).contains(&ids.len()) {
            let message = format!(
                "SecretIdList has {} items; it must have 1 to {MAX_BATCH}",
                ids.len()
            );
            return Err(ApiError::invalid_parameter(message));
        }
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        for id in &ids {
            match self.value(caller, id, &Selector::default()).await {
                Ok(opened) => read.push(opened),
                // The caller may try all of it again.
                Err(error) if error.status.is_server_error() => return Err(error),
                Err(error) => errors.push(
                    json!({"SecretId": id, "ErrorCode": error.code, "Message": error.message}),
                ),
            }
        }
        let entries = read.iter().map(|opened| self.entry(opened));
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        answer(&Batch {
            secret_values: entries,
            errors,
        })
    }

    async fn describe_secret(&self, caller: Caller<'_>, body: &[u8]) -> Result<Answer, ApiError> {
        let asked: DescribeSecret = parameters(body)?;
        let found = self
            .describe(caller, &asked.secret_id, SecretAction::DescribeSecret)
            .await?;
        let versions = found.manifest().versions();
        let stages = versions_to_stages(found.manifest());
        let created = |pick: fn(Timestamp, Timestamp) -> Timestamp| {
            versions.iter().map(|v| v.created).reduce(pick).map(seconds)
        };
        let mut described = json!({
            "ARN": self.arn(&found.stored),
            "Name": found.stored.name,
            "VersionIdsToStages": stages,
            "RotationEnabled": found.manifest().rotation().is_some(),
        });
        let dates = [
            ("CreatedDate", created(Timestamp::min)),
            ("LastChangedDate", created(Timestamp::max)),
            ("DeletedDate", found.stored.end().map(seconds)),
        ];
        for (field, date) in dates {
            if let Some(date) = date {
                described[field] = json!(date);
            }
        }
        answer(&described)
    }

    async fn list_secret_version_ids(
        &self,
        caller: Caller<'_>,
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        let asked: ListSecretVersionIds = parameters(body)?;
        let action = SecretAction::ListSecretVersionIds;
        let found = self.describe(caller, &asked.secret_id, action).await?;
        let listed = found.manifest().versions().iter().rev();
        let listed =
            listed.filter(|version| asked.include_deprecated || !version.stages.is_empty());
        let versions: Vec<_> = listed
            .map(|version| {
                json!({
                    "VersionId": version.id.as_str(),
                    "VersionStages": stages(version),
                    "CreatedDate": seconds(version.created),
                    "KmsKeyIds": [version.key_id],
                })
            })
            .collect();
        answer(
            &json!({"ARN": self.arn(&found.stored), "Name": found.stored.name, "Versions": versions}),
        )
    }

    async fn describe(
        &self,
        caller: Caller<'_>,
        id: &str,
        action: SecretAction,
    ) -> Result<Found, ApiError> {
        let place = self.accounts.secret(id, caller.who).await?;
        let asked = asked(caller, id, &place, action);
        self.reader.describe(asked).await
    }

    fn arn(&self, stored: &Stored) -> String {
        self.accounts.arn(&stored.namespace, &stored.name)
    }

    fn entry<'a>(&self, opened: &'a Opened) -> Result<SecretValueEntry<'a>, ApiError> {
        let value = written(&opened.value)
            .map_err(|_| ApiError::internal("the answer could not be written"))?;
        Ok(SecretValueEntry {
            arn: self.arn(&opened.stored),
            name: &opened.stored.name,
            version_id: opened.version.id.as_str(),
            version_stages: stages(&opened.version),
            created_date: seconds(opened.version.created),
            value,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'a> {
    secret_values: Vec<SecretValueEntry<'a>>,
    errors: Vec<Value>,
}

fn asked<'a>(
    caller: Caller<'a>,
    said: &'a str,
    place: &'a SecretPlace,
    action: SecretAction,
) -> Asked<'a> {
    Asked {
        who: caller.who,
        request_id: caller.request_id,
        said,
        place,
        action,
    }
}

/// The versions with stages. One that a rotation is to make counts as pending before it has a value, as in AWS: functions for rotation
/// look for it first.
fn versions_to_stages(manifest: &Manifest) -> serde_json::Map<String, Value> {
    let staged = manifest.versions().iter();
    let staged = staged.filter(|version| !version.stages.is_empty());
    let staged = staged.map(|version| (version.id.to_string(), json!(stages(version))));
    let rotation = manifest.rotation();
    let running = rotation.and_then(|rotation| rotation.running.as_ref());
    let awaited = running.filter(|running| manifest.version(&running.version).is_none());
    let pending = json!([stage::name(&Stage::Pending)]);
    let awaited = awaited.map(|running| (running.version.to_string(), pending));
    staged.chain(awaited).collect()
}

fn stages(version: &VersionRecord) -> Vec<String> {
    version.stages.iter().map(stage::name).collect()
}
