use super::*;

fn endpoint(url: &str) -> Result<Endpoint, String> {
    let authority = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    let pem = authority.cert.pem();
    Endpoint::new(
        url,
        pem.as_bytes(),
        Addresses::NotLocal,
        vec!["192.0.2.1".parse().unwrap()],
    )
}

#[test]
fn a_url_is_taken_apart_as_it_is_written() {
    for (url, host, port, path) in [
        (
            "https://rotator.shop.svc/rotate?x=1",
            "rotator.shop.svc",
            443,
            "/rotate?x=1",
        ),
        (
            "https://Rotator.shop.svc:8443",
            "rotator.shop.svc",
            8443,
            "/",
        ),
        ("https://10.0.0.7/", "10.0.0.7", 443, "/"),
        ("https://[2001:db8::1]:9/a", "2001:db8::1", 9, "/a"),
    ] {
        let endpoint = endpoint(url).unwrap();
        assert_eq!(
            (&*endpoint.host, endpoint.port, &*endpoint.path),
            (host, port, path),
            "{url}"
        );
    }
}

#[test]
fn what_is_no_https_url_is_refused() {
    for url in [
        "http://a/",
        "https://",
        "a",
        "https://user@host/",
        "https://ho st/",
        "",
    ] {
        assert!(endpoint(url).unwrap_err().contains("webhook.url"), "{url}");
    }
    let none = Endpoint::new(
        "https://a/",
        b"no certificate",
        Addresses::NotLocal,
        Vec::new(),
    );
    assert!(none.unwrap_err().contains("webhook.caBundle"));
}

async fn called(url: &str) -> Outcome {
    let signature = Signature {
        id: "id".to_owned(),
        timestamp: "1".to_owned(),
        signature: "v1,x".to_owned(),
    };
    endpoint(url).unwrap().call(Vec::new(), &signature).await
}

#[tokio::test]
async fn neither_the_machine_nor_its_link_nor_the_api_server_is_called() {
    for url in [
        "https://127.0.0.1:1/",
        "https://localhost:1/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://[fd00:ec2::254]/",
        "https://192.0.2.1/",
        "https://[::ffff:192.0.2.1]/",
    ] {
        let Outcome::Rejected(why) = called(url).await else {
            panic!("{url} is called");
        };
        assert!(why.contains("none of which is called"), "{why}");
    }
}

#[test]
fn of_an_answer_only_the_status_counts() {
    let endpoint = endpoint("https://a/").unwrap();
    let meaning = |status: u16| endpoint.meaning(StatusCode::from_u16(status).unwrap());
    for status in [200, 204] {
        assert_eq!(meaning(status), Outcome::Done);
    }
    assert!(matches!(meaning(422), Outcome::ValueRefused(_)));
    for status in [301, 307, 400, 401, 403, 404, 405, 410] {
        assert!(matches!(meaning(status), Outcome::Rejected(_)), "{status}");
    }
    for status in [202, 408, 409, 429, 500, 502, 503, 504] {
        assert!(matches!(meaning(status), Outcome::Retry(_)), "{status}");
    }
}

#[test]
fn a_call_has_the_words_of_functions_of_aws() {
    let event = Event {
        secret_id: "arn",
        client_request_token: "v",
        step: "setSecret",
        namespace: "shop",
        name: "db",
        check: false,
    };
    assert_eq!(
        serde_json::to_value(event).unwrap(),
        serde_json::json!({
            "SecretId": "arn", "ClientRequestToken": "v", "Step": "setSecret",
            "Namespace": "shop", "Name": "db", "Check": false,
        })
    );
}
