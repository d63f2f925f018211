use serde_json::{Value, json};

use super::*;

const VERSION: &str = "00000000-0000-4000-8000-000000000001";

fn put(more: &Value) -> Result<Wish, ApiError> {
    let mut body = json!({"SecretId": "db"});
    let parts = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(parts);
    put_of(body.to_string().as_bytes()).map(|(id, wish)| {
        assert_eq!(id, "db");
        wish
    })
}

#[track_caller]
fn refused(wish: Result<Wish, ApiError>) -> String {
    let Err(error) = wish else {
        panic!("it is taken");
    };
    assert_eq!(error.code, "InvalidParameterException");
    error.message
}

fn keys(wish: &Wish) -> Vec<(String, Vec<u8>)> {
    let Wish::Put { value, .. } = wish else {
        panic!("nothing is put");
    };
    let owned = |(key, bytes): (&str, &[u8])| (key.to_owned(), bytes.to_vec());
    value.iter().map(owned).collect()
}

#[test]
fn a_put_names_its_version_its_stage_and_its_keys() {
    let wish = put(&json!({"SecretString": "{\"a\":\"\\u0000\"}", "ClientRequestToken": VERSION}))
        .unwrap();
    assert_eq!(keys(&wish), [("a".to_owned(), vec![0])]);
    assert_eq!(
        wish.told(),
        [
            ("versionId".to_owned(), VERSION.to_owned()),
            ("stages".to_owned(), "AWSCURRENT".to_owned())
        ]
    );
    let wish = put(&json!({"SecretBinary": "/wA=", "VersionStages": ["AWSPENDING"]})).unwrap();
    assert_eq!(keys(&wish), [("value".to_owned(), vec![0xff, 0])]);
    let Wish::Put { version, stage, .. } = &wish else {
        panic!("nothing is put");
    };
    assert_eq!(*stage, ChangedStage::Pending);
    assert_ne!(version.as_str(), VERSION, "one is made");
    let twice = put(&json!({"SecretString": "x", "VersionStages": ["AWSCURRENT", "AWSCURRENT"]}));
    assert!(twice.is_ok());
}

#[test]
fn what_can_be_no_version_is_refused_and_no_value_is_told() {
    for (more, said) in [
        (json!({}), "exactly one of"),
        (
            json!({"SecretString": "C4N4RY", "SecretBinary": "AA=="}),
            "exactly one of",
        ),
        (
            json!({"SecretBinary": "C4N4RY!"}),
            "SecretBinary: it is no base64",
        ),
        (
            json!({"SecretString": "{\"a\":[\"C4N4RY\"]}"}),
            "SecretString: the member `a`",
        ),
        (
            json!({"SecretString": "C4N4RY", "ClientRequestToken": "1"}),
            "ClientRequestToken",
        ),
        (
            json!({"SecretString": "C4N4RY", "ClientRequestToken": VERSION.replace('0', "A")}),
            "lower-case",
        ),
        (
            json!({"SecretString": "C4N4RY", "VersionStages": ["AWSPREVIOUS"]}),
            "AWSPREVIOUS follows",
        ),
        (
            json!({"SecretString": "C4N4RY", "VersionStages": ["blue"]}),
            "spec.versionStages",
        ),
        (
            json!({"SecretString": "C4N4RY", "VersionStages": ["AWSNEXT"]}),
            "AWSCURRENT or AWSPENDING",
        ),
        (
            json!({"SecretString": "C4N4RY", "VersionStages": ["AWSCURRENT", "AWSPENDING"]}),
            "not as both",
        ),
    ] {
        let message = refused(put(&more));
        assert!(message.contains(said), "{message}");
        assert!(!message.contains("C4N4RY"), "{message}");
    }
}

#[test]
fn a_value_has_at_most_as_many_bytes_as_in_aws() {
    let text = |length: usize| put(&json!({"SecretString": "x".repeat(length)}));
    assert!(text(MAX_SECRET).is_ok());
    assert!(refused(text(MAX_SECRET + 1)).contains("65537 bytes"));
    let binary = |length: usize| put(&json!({"SecretBinary": STANDARD.encode(vec![0; length])}));
    assert!(binary(MAX_SECRET).is_ok());
    assert!(refused(binary(MAX_SECRET + 1)).contains("65537 bytes"));
    // Each byte written as six fits the body of a call.
    let body = json!({"SecretId": "x".repeat(2048), "SecretString": "\0".repeat(MAX_SECRET), "ClientRequestToken": VERSION});
    let most = crate::server::api::calls::Call::Secret(
        crate::server::api::calls::SecretCall::PutSecretValue,
    )
    .max_body();
    assert!(body.to_string().len() < most);
}

#[test]
fn the_greatest_value_fits_the_object_by_which_it_is_asked_for() {
    let begin = "{\"a\":\"";
    let text = format!("{begin}{}\"}}", "x".repeat(MAX_SECRET - begin.len() - 2));
    let wish = put(&json!({"SecretString": text, "ClientRequestToken": VERSION})).unwrap();
    let Wish::Put { version, value, .. } = &wish else {
        panic!("nothing is put");
    };
    assert_eq!(value.text().map(str::len), Some(MAX_SECRET));
    let context =
        crate::secrets::change_context(&"n".repeat(63), &"s".repeat(253), version).unwrap();
    let sealed = crate::crypto::max_sealed_length(value.encoded_length(), &context);
    // Each of many keys takes six bytes beside itself and its value.
    let most = sealed + 6 * crate::secrets::value::MAX_KEYS;
    assert!(
        most.div_ceil(3) * 4 <= 262_144,
        "{most} bytes are more than spec.put.value takes"
    );
}

#[test]
fn a_stage_is_moved_to_a_version_or_taken_from_one() {
    let wish = |more: Value| {
        let mut body = json!({"SecretId": "db"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        stage_of(body.to_string().as_bytes()).map(|(_, wish)| wish)
    };
    let to = wish(
        json!({"VersionStage": "AWSCURRENT", "MoveToVersionId": VERSION, "RemoveFromVersionId": VERSION}),
    );
    let told: Vec<_> = to
        .unwrap()
        .told()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(told, ["stages", "moveToVersionId", "removeFromVersionId"]);
    assert!(wish(json!({"VersionStage": "AWSPENDING", "RemoveFromVersionId": VERSION})).is_ok());
    for (more, said) in [
        (
            json!({"VersionStage": "AWSCURRENT", "RemoveFromVersionId": VERSION}),
            "name MoveToVersionId",
        ),
        (
            json!({"VersionStage": "AWSPENDING", "MoveToVersionId": VERSION}),
            "by a rotation only",
        ),
        (
            json!({"VersionStage": "AWSPENDING"}),
            "name RemoveFromVersionId",
        ),
        (
            json!({"VersionStage": "AWSPREVIOUS", "MoveToVersionId": VERSION}),
            "AWSPREVIOUS follows",
        ),
        (
            json!({"VersionStage": "blue", "MoveToVersionId": VERSION}),
            "spec.versionStages",
        ),
        (
            json!({"VersionStage": "AWSCURRENT", "MoveToVersionId": "1"}),
            "MoveToVersionId: the id",
        ),
        (
            json!({"VersionStage": "AWSPENDING", "RemoveFromVersionId": "1"}),
            "RemoveFromVersionId: the id",
        ),
    ] {
        let message = refused(wish(more));
        assert!(message.contains(said), "{message}");
    }
}
