//! One question to another cluster's API server: what one Secret is. Nothing is followed, and little is believed.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;

use super::access::Access;

/// Longest wait for the connection, and for all of the answer.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes of an answer: a Secret of 1 MiB is 1.4 MiB in base64.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// Why there is no Secret. Nothing of the answer is in it but what kind of status it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// No connection, or no answer in time.
    #[error("cannot be reached, or gives no answer within {} s; it is asked again", LIMIT.as_secs())]
    Unreachable,
    /// It shows another certificate.
    #[error("shows a certificate that the authority in the Secret has not signed for it")]
    Untrusted,
    /// The credentials cannot be used.
    #[error("cannot be asked: the token, or the client certificate and its key, cannot be used")]
    Credentials,
    /// It does not know the credentials.
    #[error(
        "does not accept the credentials (HTTP 401): they are over, or were made for another cluster"
    )]
    Unauthorized,
    /// They are worth nothing.
    #[error("does not allow it (HTTP 403): the credentials need get on this one Secret there")]
    Forbidden,
    /// There is no such Secret.
    #[error(
        "has no such Secret (HTTP 404): the source does not exist there, is not Ready, or its spec.shareWith.clusters is empty"
    )]
    Absent,
    /// It points elsewhere.
    #[error("answers with a redirect, which is not followed")]
    Redirect,
    /// It refuses, or is in trouble.
    #[error("answers with HTTP {0}xx; it is asked again")]
    Status(u16),
    /// The answer is too large, or no Secret.
    #[error("gives an answer that is no Secret, or too large for one")]
    Unreadable,
}

/// Asks for a Secret.
pub(crate) async fn ask(access: &Access, namespace: &str, name: &str) -> Result<Secret, AskError> {
    // On the heap, as every call of an API server.
    let answer = Box::pin(fetch(access, namespace, name));
    let answer = tokio::time::timeout(LIMIT, answer).await;
    answer.unwrap_or(Err(AskError::Unreachable))
}

async fn fetch(access: &Access, namespace: &str, name: &str) -> Result<Secret, AskError> {
    let config = access.config().ok_or(AskError::Credentials)?;
    let client = Client::try_from(config).map_err(|_| AskError::Credentials)?;
    let request = Request::get(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
        .body(kube::client::Body::empty())
        .map_err(|_| AskError::Absent)?;
    let answer = client.send(request).await;
    let answer = answer.map_err(|error| not_connected(&error))?;
    refused(answer.status())?;
    let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await;
    let body = body.map_err(|_| AskError::Unreadable)?;
    serde_json::from_slice(&body).map_err(|_| AskError::Unreadable)
}

fn refused(status: StatusCode) -> Result<(), AskError> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED => Err(AskError::Unauthorized),
        StatusCode::FORBIDDEN => Err(AskError::Forbidden),
        StatusCode::NOT_FOUND => Err(AskError::Absent),
        status if status.is_redirection() => Err(AskError::Redirect),
        status => Err(AskError::Status(status.as_u16() / 100)),
    }
}

/// Whether nobody answered, or somebody else did.
fn not_connected(error: &(dyn StdError + 'static)) -> AskError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return AskError::Untrusted;
        }
        // An error of I/O hides the one that it was made of: its source is that of the other.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    AskError::Unreachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_somebody_else_is_told_from_silence_however_deep_it_is() {
        let unknown = rustls::CertificateError::UnknownIssuer;
        let tls = rustls::Error::InvalidCertificate(unknown);
        let error = io::Error::other(io::Error::other(tls));
        let error = kube::Error::Service(Box::new(error));
        assert_eq!(not_connected(&error), AskError::Untrusted);
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = kube::Error::Service(Box::new(error));
        assert_eq!(not_connected(&error), AskError::Unreachable);
    }

    #[test]
    fn of_an_answer_only_the_kind_of_its_status_is_told() {
        let told = |code| refused(StatusCode::from_u16(code).unwrap());
        assert_eq!(told(200), Ok(()));
        assert_eq!(told(302), Err(AskError::Redirect));
        assert_eq!(told(404), Err(AskError::Absent));
        assert_eq!(told(418), Err(AskError::Status(4)));
        assert_eq!(told(503), Err(AskError::Status(5)));
        assert_eq!(told(204), Err(AskError::Status(2)));
    }
}
