//! What a caller asks for, from the parameters of his call. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use crate::api::{ChangedStage, MoveStage};
use crate::crypto::{OsRandom, SecretBytes};
use crate::secrets::{SecretValue, Stage, TextError, VersionId, from_bytes, from_text};
use crate::server::api::error::ApiError;
use crate::server::api::secrets::stage;
use crate::server::api::wire::parameters;

/// Most bytes of a `SecretString` or `SecretBinary`; as in AWS.
pub(super) const MAX_SECRET: usize = 65_536;

/// A change that is asked for.
pub(in crate::server::api::secrets) enum Wish {
    /// A version to be added.
    Put {
        /// Its id.
        version: VersionId,
        /// The stage that it gets.
        stage: ChangedStage,
        /// Its keys.
        value: SecretValue,
    },
    /// A stage to be moved, or taken away.
    Move(MoveStage),
}

impl Wish {
    /// The version that is put.
    pub(super) fn version(&self) -> Option<&VersionId> {
        match self {
            Self::Put { version, .. } => Some(version),
            Self::Move(_) => None,
        }
    }

    /// What is asked for, for the audit log; never a value.
    pub(super) fn told(&self) -> Vec<(String, String)> {
        let told = |name: &str, text: &str| Some((name.to_owned(), text.to_owned()));
        let pairs = match self {
            Self::Put { version, stage, .. } => [
                told("versionId", version.as_str()),
                told("stages", aws_name(*stage)),
                None,
            ],
            Self::Move(moved) => [
                told("stages", aws_name(moved.stage)),
                moved
                    .move_to_version_id
                    .as_deref()
                    .and_then(|id| told("moveToVersionId", id)),
                moved
                    .remove_from_version_id
                    .as_deref()
                    .and_then(|id| told("removeFromVersionId", id)),
            ],
        };
        pairs.into_iter().flatten().collect()
    }
}

fn aws_name(stage: ChangedStage) -> &'static str {
    match stage {
        ChangedStage::Current => "AWSCURRENT",
        ChangedStage::Pending => "AWSPENDING",
    }
}

/// A text that may be a value: kept where it is zeroized.
struct Text(SecretBytes);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(SecretBytes::copy_of(text.as_bytes())))
            }

            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Text(SecretBytes::from(text)))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

impl Text {
    fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutSecretValue {
    secret_id: String,
    client_request_token: Option<String>,
    secret_string: Option<Text>,
    secret_binary: Option<Text>,
    version_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateSecretVersionStage {
    secret_id: String,
    version_stage: String,
    move_to_version_id: Option<String>,
    remove_from_version_id: Option<String>,
}

/// What a `PutSecretValue` asks for, and of which secret.
///
/// # Errors
/// A parameter breaks a limit, is missing, or is none that can be.
pub(in crate::server::api::secrets) fn put_of(body: &[u8]) -> Result<(String, Wish), ApiError> {
    let asked: PutSecretValue = parameters(body)?;
    let version = version_of(asked.client_request_token.as_deref())?;
    let stage = stage_put(&asked.version_stages.unwrap_or_default())?;
    let value = value_of(asked.secret_string.as_ref(), asked.secret_binary.as_ref())?;
    let wish = Wish::Put {
        version,
        stage,
        value,
    };
    Ok((asked.secret_id, wish))
}

fn version_of(token: Option<&str>) -> Result<VersionId, ApiError> {
    let Some(token) = token else {
        let made = VersionId::generate(&mut OsRandom);
        return made.map_err(|error| ApiError::internal(error.to_string()));
    };
    token.parse().map_err(|_| {
        ApiError::invalid_parameter(
            "ClientRequestToken: it becomes the id of the version, which is a UUID in lower-case text",
        )
    })
}

fn stage_put(names: &[String]) -> Result<ChangedStage, ApiError> {
    let stages = names.iter().map(|name| changed(name));
    let mut stages = stages.collect::<Result<Vec<_>, _>>()?;
    stages.dedup();
    match stages[..] {
        [] => Ok(ChangedStage::Current),
        [stage] => Ok(stage),
        _ => Err(ApiError::invalid_parameter(
            "VersionStages: a version is put as AWSCURRENT, or as AWSPENDING, and not as both",
        )),
    }
}

/// The stage of that name, if a call may change it.
fn changed(name: &str) -> Result<ChangedStage, ApiError> {
    let refused = |why: &str| Err(ApiError::invalid_parameter(why));
    match stage::named(name) {
        Some(Stage::Current) => Ok(ChangedStage::Current),
        Some(Stage::Pending) => Ok(ChangedStage::Pending),
        Some(Stage::Previous) => {
            refused("AWSPREVIOUS follows AWSCURRENT by itself, and is not set by a call")
        }
        Some(Stage::Label(_)) => {
            refused("labels are set in spec.versionStages of the ManagedSecret")
        }
        None => refused("a stage is AWSCURRENT or AWSPENDING here"),
    }
}

fn value_of(text: Option<&Text>, binary: Option<&Text>) -> Result<SecretValue, ApiError> {
    match (text, binary) {
        (Some(text), None) => {
            bounded("SecretString", text.0.len())?;
            from_text(text.as_str()).map_err(|error| refused("SecretString", &error))
        }
        (None, Some(binary)) => {
            // The library's own text would quote what was sent.
            let bytes = STANDARD.decode(binary.0.expose()).map(SecretBytes::from);
            let bytes = bytes.map_err(|_| {
                ApiError::invalid_parameter("SecretBinary: it is no base64, with padding")
            })?;
            bounded("SecretBinary", bytes.len())?;
            from_bytes(bytes.expose()).map_err(|error| refused("SecretBinary", &error))
        }
        _ => Err(ApiError::invalid_parameter(
            "name exactly one of SecretString and SecretBinary",
        )),
    }
}

fn bounded(parameter: &str, length: usize) -> Result<(), ApiError> {
    if length <= MAX_SECRET {
        return Ok(());
    }
    let message = format!("{parameter} has {length} bytes; it must have at most {MAX_SECRET}");
    Err(ApiError::invalid_parameter(message))
}

fn refused(parameter: &str, error: &TextError) -> ApiError {
    ApiError::invalid_parameter(format!("{parameter}: {error}"))
}

/// What an `UpdateSecretVersionStage` asks for, and of which secret.
///
/// # Errors
/// A parameter is none that can be, or they do not go together.
pub(in crate::server::api::secrets) fn stage_of(body: &[u8]) -> Result<(String, Wish), ApiError> {
    let asked: UpdateSecretVersionStage = parameters(body)?;
    let stage = changed(&asked.version_stage)?;
    let (to, from) = (asked.move_to_version_id, asked.remove_from_version_id);
    for (parameter, id) in [("MoveToVersionId", &to), ("RemoveFromVersionId", &from)] {
        if id
            .as_ref()
            .is_some_and(|id| id.parse::<VersionId>().is_err())
        {
            let message = format!("{parameter}: the id of a version is a UUID in lower-case text");
            return Err(ApiError::invalid_parameter(message));
        }
    }
    let why = match (stage, &to, &from) {
        (ChangedStage::Current, Some(_), _) | (ChangedStage::Pending, None, Some(_)) => None,
        (ChangedStage::Current, None, _) => {
            Some("AWSCURRENT can be moved and not taken away: name MoveToVersionId")
        }
        (ChangedStage::Pending, Some(_), _) => Some(
            "AWSPENDING is given by a rotation only: it can be taken away, by RemoveFromVersionId",
        ),
        (ChangedStage::Pending, None, None) => {
            Some("name RemoveFromVersionId: AWSPENDING can be taken away")
        }
    };
    if let Some(why) = why {
        return Err(ApiError::invalid_parameter(why));
    }
    let moved = MoveStage {
        stage,
        move_to_version_id: to,
        remove_from_version_id: from,
    };
    Ok((asked.secret_id, Wish::Move(moved)))
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
