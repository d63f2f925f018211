//! What the plugin asks of the server, and what it understands of the answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::body::Bytes;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::client::{Answer, Call, Client, ClientError, Token};
use super::content::{Fetched, Value};
use super::publication::Purpose;
use crate::api::volume::VolumeStage;

/// How long the server may take to give the files of a secret.
const FETCHING: Duration = Duration::from_secs(10);
/// The answer with the values of a secret: 256 KiB in base64, with keys.
const MAX_FILES: usize = 1 << 20;
/// An answer without values.
const MAX_OTHER: usize = 4 << 20;
/// Most secrets in one poll.
pub(super) const MAX_WATCHED: usize = 4096;
/// Most pods in one report.
pub(super) const MAX_REPORTED: usize = 256;
/// Longest revision or version id.
const MAX_ID: usize = 64;
/// Longest text of an error that is passed on.
const MAX_MESSAGE: usize = 1024;

/// What an answer means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// There is no such secret, yet.
    NotFound,
    /// The pod may not.
    Denied,
    /// The token is used up.
    BadToken,
    /// The secret is in no state to be read.
    NotNow,
    /// The request is not valid.
    Invalid,
    /// The server is away or busy: the same may work in a moment.
    Away,
}

impl Kind {
    /// For metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::BadToken => "bad_token",
            Self::NotNow => "not_now",
            Self::Invalid => "invalid",
            Self::Away => "away",
        }
    }

    /// As the names of errors in AWS's protocol, and status codes, say it.
    fn of(code: &str, status: StatusCode) -> Self {
        match code {
            "ResourceNotFoundException" => Self::NotFound,
            "AccessDeniedException" => Self::Denied,
            "UnrecognizedClientException" | "MissingAuthenticationTokenException" => Self::BadToken,
            "ThrottlingException" | "RequestTimeoutException" | "ServiceUnavailableException" => {
                Self::Away
            }
            "InvalidParameterException"
            | "ValidationException"
            | "SerializationException"
            | "UnknownOperationException"
            | "RequestEntityTooLargeException" => Self::Invalid,
            _ if status.is_client_error() => Self::NotNow,
            _ => Self::Away,
        }
    }
}

/// Why the server did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct CallError {
    /// What it means.
    pub(super) kind: Kind,
    /// In words: the server's, which hold no value.
    pub(super) message: String,
}

impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        let kind = match error {
            ClientError::BadToken => Kind::BadToken,
            _ => Kind::Away,
        };
        let message = error.to_string();
        Self { kind, message }
    }
}

impl CallError {
    fn unreadable() -> Self {
        Self {
            kind: Kind::Away,
            message: "the answer of the server could not be read".to_owned(),
        }
    }
}

/// The name of a secret in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretName {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its own name.
    pub(super) name: String,
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A secret and its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Watched {
    /// The secret.
    #[serde(flatten)]
    pub(super) secret: SecretName,
    /// Its revision. Asked: as last told. Told: none if there is no such secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
}

/// What a pod has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LoadedPod {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Its UID.
    pub(super) uid: String,
    /// The version of each secret.
    pub(super) secrets: BTreeMap<String, String>,
}

/// A report that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FailedPod {
    /// The pod.
    pub(super) uid: String,
    /// The name of the error.
    pub(super) code: String,
    /// In words.
    #[serde(default)]
    pub(super) message: String,
}

impl FailedPod {
    /// What it means.
    pub(super) fn kind(&self) -> Kind {
        Kind::of(&self.code, StatusCode::BAD_REQUEST)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FilesAsked<'a> {
    secret_id: &'a str,
    version_stage: &'a str,
    for_variables: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FilesTold {
    version_id: String,
    revision: String,
    data: BTreeMap<String, Decoded>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WatchAsked<'a> {
    secrets: &'a [Watched],
    wait_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WatchTold {
    secrets: Vec<Watched>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReportAsked<'a> {
    pods: &'a [LoadedPod],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReportTold {
    #[serde(default)]
    failed: Vec<FailedPod>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    code: String,
    #[serde(default, alias = "Message")]
    message: String,
}

/// A value out of base64, straight into memory that is wiped.
struct Decoded(Value);

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Decoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decoded, E> {
                let mut value = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
                let decoded = STANDARD.decode_vec(text, &mut value);
                // The library's words would quote a byte of it.
                decoded.map_err(|_| E::custom("not base64"))?;
                Ok(Decoded(Arc::new(value)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Reads the body of an answer.
fn told<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    if answer.status == StatusCode::OK {
        // The library's words would quote what it could not read.
        return serde_json::from_slice(&answer.body).map_err(|_| CallError::unreadable());
    }
    let refusal: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
    let (code, message) = match refusal {
        Some(refusal) => (refusal.code, plain(&refusal.message)),
        None => (
            String::new(),
            format!("the server answered with status {}", answer.status.as_u16()),
        ),
    };
    // Some servers put a namespace before the name.
    let code = code.rsplit('#').next().unwrap_or_default();
    let kind = Kind::of(code, answer.status);
    Err(CallError { kind, message })
}

/// A text that can be part of a line.
fn plain(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MAX_MESSAGE).collect()
}

/// The server.
pub(super) struct Server(Client);

impl Server {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// What a pod gets of a secret of its namespace.
    pub(super) async fn files(
        &self,
        token: &Token,
        secret: &str,
        stage: VolumeStage,
        purpose: Purpose,
    ) -> Result<Fetched, CallError> {
        let asked = FilesAsked {
            secret_id: secret,
            version_stage: stage.version_stage(),
            for_variables: purpose == Purpose::Variables,
        };
        let answer = self.call(
            "keystead.GetSecretFiles",
            token,
            &asked,
            FETCHING,
            MAX_FILES,
        );
        let told: FilesTold = told(&answer.await?)?;
        if told.version_id.len() > MAX_ID || told.revision.len() > MAX_ID {
            return Err(CallError::unreadable());
        }
        let data = told.data.into_iter();
        Ok(Fetched {
            version: told.version_id,
            revision: told.revision,
            data: data.map(|(key, value)| (key, value.0)).collect(),
        })
    }

    /// Which of these secrets have another revision, as soon as there is one; none if there is none for so long.
    pub(super) async fn changed(
        &self,
        token: &Token,
        secrets: &[Watched],
        wait: Duration,
    ) -> Result<Vec<Watched>, CallError> {
        let asked = WatchAsked {
            secrets,
            wait_seconds: wait.as_secs(),
        };
        let time = wait + FETCHING;
        let answer = self.call("keystead.WatchSecrets", token, &asked, time, MAX_OTHER);
        let told: WatchTold = told(&answer.await?)?;
        let long = |one: &Watched| one.revision.as_ref().is_some_and(|r| r.len() > MAX_ID);
        if told.secrets.len() > MAX_WATCHED || told.secrets.iter().any(long) {
            return Err(CallError::unreadable());
        }
        Ok(told.secrets)
    }

    /// Tells what pods have. Returns the reports that were not taken.
    pub(super) async fn report(
        &self,
        token: &Token,
        pods: &[LoadedPod],
    ) -> Result<Vec<FailedPod>, CallError> {
        let asked = ReportAsked { pods };
        let answer = self.call("keystead.ReportLoaded", token, &asked, FETCHING, MAX_OTHER);
        let told: ReportTold = told(&answer.await?)?;
        Ok(told.failed)
    }

    async fn call(
        &self,
        target: &'static str,
        token: &Token,
        asked: &impl Serialize,
        time: Duration,
        answer: usize,
    ) -> Result<Answer, CallError> {
        let body = serde_json::to_vec(asked).map_err(|_| CallError {
            kind: Kind::Invalid,
            message: "the request could not be written".to_owned(),
        })?;
        let call = Call {
            target,
            token,
            body: Bytes::from(body),
            time,
            answer,
        };
        Ok(self.0.call(&call).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn values_are_decoded() {
        let body = r#"{"VersionId":"v","Revision":"r","Data":{"a":"aGk=","b":""},"More":1}"#;
        let told: FilesTold = told(&answer(200, body)).unwrap();
        let values: Vec<_> = told.data.values().map(|value| value.0.to_vec()).collect();
        assert_eq!(values, [b"hi".to_vec(), Vec::new()]);
    }

    #[test]
    fn what_cannot_be_read_is_not_quoted() {
        for body in [
            r#"{"VersionId":"v","Revision":"r","Data":{"a":"C4N4RY!"}}"#,
            r#"{"VersionId":"v","Revision":"r","Data":"C4N4RY"}"#,
            "C4N4RY",
        ] {
            let error = told::<FilesTold>(&answer(200, body)).err().unwrap();
            assert_eq!(error.kind, Kind::Away);
            assert!(!error.message.contains("C4N4RY"), "{error}");
        }
    }

    #[test]
    fn refusals_say_what_to_do_with_them() {
        for (status, code, kind) in [
            (400, "ResourceNotFoundException", Kind::NotFound),
            (400, "AccessDeniedException", Kind::Denied),
            (400, "UnrecognizedClientException", Kind::BadToken),
            (400, "InvalidRequestException", Kind::NotNow),
            (400, "DecryptionFailure", Kind::NotNow),
            (400, "ThrottlingException", Kind::Away),
            (400, "x#ValidationException", Kind::Invalid),
            (503, "ServiceUnavailableException", Kind::Away),
            (500, "InternalFailure", Kind::Away),
        ] {
            let body = format!(r#"{{"__type":"{code}","message":"because\nof it"}}"#);
            let error = told::<FilesTold>(&answer(status, &body)).err().unwrap();
            assert_eq!(
                (error.kind, error.message.as_str()),
                (kind, "because of it"),
                "{code}"
            );
        }
    }

    #[test]
    fn an_answer_of_somebody_else_is_a_server_away() {
        let error = told::<WatchTold>(&answer(502, "<html>")).err().unwrap();
        assert_eq!(error.kind, Kind::Away);
        assert!(error.message.contains("502"));
    }

    #[test]
    fn the_wire_has_the_names_of_the_protocol() {
        let secret = SecretName {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
        };
        let secrets = [None, Some("r".to_owned())].map(|revision| Watched {
            secret: secret.clone(),
            revision,
        });
        let asked = WatchAsked {
            secrets: &secrets,
            wait_seconds: 30,
        };
        assert_eq!(
            serde_json::to_string(&asked).unwrap(),
            r#"{"Secrets":[{"Namespace":"shop","Name":"db"},{"Namespace":"shop","Name":"db","Revision":"r"}],"WaitSeconds":30}"#
        );
        let pod = LoadedPod {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
            uid: "u".to_owned(),
            secrets: BTreeMap::from([("db".to_owned(), "v".to_owned())]),
        };
        assert_eq!(
            serde_json::to_string(&ReportAsked { pods: &[pod] }).unwrap(),
            r#"{"Pods":[{"Namespace":"shop","Name":"web-0","Uid":"u","Secrets":{"db":"v"}}]}"#
        );
    }
}
