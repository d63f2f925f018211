use serde_json::json;

use super::*;
use crate::node::testing::{FakeServer, Files, within};

const CALL: &str = "keystead.GetSecretFiles";

async fn ask(client: &Client, token: &str, answer: usize) -> Result<Answer, ClientError> {
    let call = Call {
        target: CALL,
        token: &Token::new(token),
        body: Bytes::from(json!({"SecretId": "db"}).to_string()),
        time: Duration::from_secs(5),
        answer,
    };
    within(client.call(&call)).await
}

async fn good(client: &Client) -> bool {
    let answer = ask(client, "token of pod a\n", 1 << 20).await;
    answer.is_ok_and(|answer| answer.status == StatusCode::OK)
}

#[test]
fn an_address_is_https_and_nothing_else() {
    for address in ["https://keystead-server.x.svc:8443", "https://localhost"] {
        assert!(Client::new(address, PathBuf::new()).is_ok(), "{address}");
    }
    for address in [
        "",
        "https://",
        "http://localhost",
        "localhost:8443",
        "https://localhost:x",
        "https://user@localhost",
        "https://localhost/path",
    ] {
        let refused = Client::new(address, PathBuf::new());
        assert!(matches!(refused, Err(ClientError::Address)), "{address}");
    }
}

#[test]
fn a_token_is_not_shown() {
    let token = Token::new("C4N4RY");
    assert!(!format!("{token:?}").contains("C4N4RY"));
    assert!(!format!("{:?}", token.header().unwrap()).contains("C4N4RY"));
    assert!(Token::new("a\nb").header().is_none());
}

#[tokio::test]
async fn calls_are_answered_over_one_connection() {
    let files = Files::new();
    let server = FakeServer::start(&files.authorities()).await;
    server.put("db", "1", json!({"a": "b"}));
    let client = Client::new(&server.address, files.authorities()).unwrap();
    for _ in 0..3 {
        assert!(good(&client).await);
        assert_eq!(client.held().idle.len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let files = Files::new();
    let server = FakeServer::start(&files.authorities()).await;
    let client = Client::new(&server.address, files.authorities()).unwrap();
    let answer = ask(&client, "another", 1 << 20).await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_server_may_come_back_with_another_authority() {
    let files = Files::new();
    let mut server = FakeServer::start(&files.authorities()).await;
    server.put("db", "1", json!({"a": "b"}));
    let client = Client::new(&server.address, files.authorities()).unwrap();
    assert!(good(&client).await);
    server.stop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let away = ask(&client, "token of pod a", 1 << 20).await;
    assert!(matches!(away, Err(ClientError::Connect(_))));
    server.start_again(&files.authorities()).await;
    assert!(good(&client).await);
}

#[tokio::test]
async fn nobody_else_is_taken_for_the_server() {
    let (files, others) = (Files::new(), Files::new());
    let server = FakeServer::start(&files.authorities()).await;
    let _other = FakeServer::start(&others.authorities()).await;
    let client = Client::new(&server.address, others.authorities()).unwrap();
    let refused = ask(&client, "token of pod a", 1 << 20).await.err().unwrap();
    assert!(matches!(refused, ClientError::Connect(_)), "{refused}");
    assert_eq!(server.calls("GetSecretFiles"), 0);
}

#[tokio::test]
async fn a_missing_or_empty_authority_is_named() {
    let files = Files::new();
    let client = Client::new("https://localhost:1", files.authorities()).unwrap();
    let missing = ask(&client, "t", 1).await.err().unwrap();
    assert!(missing.to_string().contains("ca.crt"), "{missing}");
    std::fs::write(files.authorities(), "nothing").unwrap();
    let empty = ask(&client, "t", 1).await.err().unwrap();
    assert!(matches!(empty, ClientError::NoAuthority(_)), "{empty}");
}

#[tokio::test]
async fn an_answer_above_the_limit_is_not_read() {
    let files = Files::new();
    let server = FakeServer::start(&files.authorities()).await;
    server.put("db", "1", json!({"a": "b"}));
    server.has().filler = 1 << 20;
    let client = Client::new(&server.address, files.authorities()).unwrap();
    let refused = ask(&client, "token of pod a", 1 << 20).await.err().unwrap();
    assert!(matches!(refused, ClientError::TooLarge), "{refused}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let files = Files::new();
    let server = FakeServer::start(&files.authorities()).await;
    let client = Client::new(&server.address, files.authorities()).unwrap();
    let call = Call {
        target: "keystead.WatchSecrets",
        token: &Token::new("token of the plugin"),
        body: Bytes::from(json!({"Secrets": []}).to_string()),
        time: Duration::from_millis(300),
        answer: 1000,
    };
    let slow = within(client.call(&call)).await.err().unwrap();
    assert!(matches!(slow, ClientError::TooSlow(_)), "{slow}");
    assert!(client.held().idle.is_empty());
}
