use axum::http::HeaderMap;
use serde_json::Value;

use super::*;

fn request(target: &str) -> Request<Body> {
    let request = Request::builder().header("X-Amz-Target", target);
    request.body(Body::empty()).unwrap()
}

async fn asked(request: Request<Body>) -> (u16, HeaderMap, Value) {
    let service = Service::new(Arc::default(), Metrics::new());
    let answer = call(State(service), request).await;
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn an_error_has_the_form_of_aws_and_a_request_id() {
    let (status, headers, body) = asked(request("secretsmanager.GetSecretValue")).await;
    assert_eq!(status, 503);
    assert_eq!(body["__type"], "ServiceUnavailableException");
    assert!(body["message"].as_str().unwrap().contains("try again"));
    assert_eq!(headers[ERROR_TYPE], "ServiceUnavailableException");
    assert_eq!(headers[CONTENT_TYPE], MEDIA_TYPE);
    assert_eq!(headers[REQUEST_ID].len(), 36);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let error = read(Body::from(vec![b' '; MAX_BODY + 1]), MAX_BODY)
        .await
        .unwrap_err();
    assert_eq!(error.code, "RequestEntityTooLargeException");
}

#[test]
fn what_is_no_call_is_refused_and_not_quoted() {
    #[derive(serde::Deserialize)]
    struct Named {
        #[expect(dead_code, reason = "only whether it can be read is looked at")]
        name: String,
    }
    for body in [
        "",
        "{",
        "[]",
        "{\"name\": 1}",
        "C4N4RY",
        "{\"other\": \"C4N4RY\"}",
    ] {
        let Err(error) = wire::parameters::<Named>(body.as_bytes()) else {
            panic!("{body} is taken");
        };
        assert_eq!(error.code, "SerializationException");
        assert!(!error.message.contains("C4N4RY"), "{}", error.message);
    }
}
