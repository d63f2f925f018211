use super::*;
use crate::rotation::address::Addresses;

fn server() -> Server {
    Server {
        host: "cache".to_owned(),
        port: 6379,
        authority: None,
        addresses: Addresses::NotLocal,
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal::new(format!("{code} in modifier '#9f86' of 'pw-secret'").as_bytes())
}

#[test]
fn a_login_that_fails_says_whether_the_password_the_configuration_or_the_moment_is_to_blame() {
    let of = |code| Failure::of_refusal(&refusal(code), &server());
    assert_eq!(of("WRONGPASS"), Failure::Password);
    for code in ["DENIED", "MOVED", "ERR wrong number of arguments"] {
        assert!(matches!(of(code), Failure::Rejected(_)), "{code}");
    }
    for code in [
        "LOADING",
        "BUSY",
        "NOAUTH",
        "MASTERDOWN",
        "MISCONF",
        "OOM",
        "ERR max number of clients",
        "ERR",
        "",
        "pw-secret",
    ] {
        assert!(matches!(of(code), Failure::Retry(_)), "{code}");
    }
}

#[test]
fn a_command_that_fails_says_whether_a_right_the_server_or_the_moment_is_to_blame() {
    let of = |code, asking| of_command(&refusal(code), &server(), "orders", "ACL SETUSER", asking);
    for (asking, remedy) in [
        (Asking::Admin, "+acl|dryrun"),
        (Asking::Itself, "name an admin"),
    ] {
        let Outcome::Rejected(told) = of("NOPERM", asking) else {
            panic!("{asking:?}");
        };
        assert!(told.contains(remedy) && told.contains("orders"), "{told}");
        for code in ["ERR unknown command", "ERR syntax error", "MOVED", "ASK"] {
            assert!(matches!(of(code, asking), Outcome::Rejected(_)), "{code}");
        }
        for code in [
            "LOADING",
            "READONLY",
            "MISCONF",
            "OOM",
            "NOAUTH",
            "ERR User not found",
            "ERR The password does not exist",
            "ERR",
            "NEWCODE",
        ] {
            assert!(matches!(of(code, asking), Outcome::Retry(_)), "{code}");
        }
    }
}

#[test]
fn nothing_of_the_servers_words_is_told() {
    for code in [
        "WRONGPASS",
        "DENIED",
        "NOPERM",
        "MOVED",
        "LOADING",
        "READONLY",
        "OOM",
        "NOAUTH",
        "ERR",
        "ERR unknown",
        "ERR syntax error",
        "ERR not found",
        "ERR max number of clients",
        "x",
    ] {
        let refusal = refusal(code);
        let login = Failure::of_refusal(&refusal, &server()).required(&server(), "orders");
        let command = of_command(&refusal, &server(), "orders", "INFO", Asking::Admin);
        for outcome in [login, command] {
            let told = format!("{outcome:?}");
            assert!(
                !told.contains("pw-secret") && !told.contains("9f86"),
                "{told}"
            );
        }
    }
}

#[test]
fn a_password_that_is_refused_is_a_conflict_but_not_that_of_the_admin() {
    let required = Failure::Password.required(&server(), "orders");
    assert!(matches!(required, Outcome::OwnershipConflict(_)));
    let admin = Failure::Password.of_admin(&server(), "admin");
    assert!(matches!(admin, Outcome::Rejected(_)));
}

#[test]
fn a_connection_that_fails_says_whether_the_certificate_or_the_moment_is_to_blame() {
    let of = |error| {
        let lost = Broken::Lost(io::Error::other(error));
        Failure::of_broken(&lost, &server())
    };
    for (error, why) in [
        (rustls::CertificateError::UnknownIssuer.into(), "`ca`"),
        (
            rustls::InvalidMessage::InvalidContentType.into(),
            "tls-port",
        ),
        (
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
            "tls-auth-clients",
        ),
    ] {
        let Failure::Rejected(told) = of(error) else {
            panic!("{why}");
        };
        assert!(told.contains(why), "{told}");
    }
    let later = of(rustls::Error::AlertReceived(
        AlertDescription::InternalError,
    ));
    assert!(matches!(later, Failure::Retry(_)), "{later:?}");
    let away = Broken::Lost(io::ErrorKind::UnexpectedEof.into());
    let away = Failure::of_broken(&away, &server());
    assert!(matches!(away, Failure::Retry(_)), "{away:?}");
}
