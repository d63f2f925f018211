//! Whom an admin does not change, whoever asks for it.

use keystead::crypto::SecretBytes;
use keystead::rotation::mysql::{Admin, AllowedUsers, Change, check, set, test};
use keystead::rotation::rotator::Outcome;
use keystead::secrets::SecretValue;

use super::support::{
    Bed, KEEPER, Kind, MARKER_ROLE, administered, alternating, keeper, login, single, words,
};

#[tokio::test]
async fn a_mighty_user_is_not_changed_by_an_admin_even_with_password_and_marker() {
    let bed = Bed::new().await;
    bed.execute(&format!(
        "CREATE ROLE staff; CREATE ROLE between_; GRANT CREATE USER ON *.* TO staff; GRANT staff TO between_; \
         CREATE ROLE `{MARKER_ROLE}`"
    ))
    .await;
    let server = bed.server();
    for rights in [
        "GRANT SUPER ON *.*",
        "GRANT CREATE USER ON *.*",
        "GRANT USAGE ON *.*",
        "GRANT FILE ON *.*",
        "GRANT SET USER ON *.*",
        "GRANT SELECT, INSERT ON *.*",
        "GRANT ALL ON *.*",
        "GRANT UPDATE ON mysql.*",
        "GRANT INSERT ON mysql.global_priv",
        "GRANT ALL ON `m%`.*",
        "GRANT PROXY ON root@localhost",
        "GRANT between_",
    ] {
        let more = if rights.contains("USAGE") {
            "WITH GRANT OPTION"
        } else {
            ""
        };
        bed.execute(&format!(
            "CREATE OR REPLACE USER boss@'%' IDENTIFIED BY 'pw-1'; {rights} TO boss@'%' {more}; \
             GRANT `{MARKER_ROLE}` TO boss@'%'"
        ))
        .await;
        let before = bed.accounts().await;
        let current = login("boss", "pw-1");
        for change in [
            administered(&server, current, login("boss", "pw-2")),
            alternating(&server, current, login("boss_clone", "pw-2"), None),
        ] {
            let told = words(set(&change).await, Kind::Rejected);
            assert!(told.contains("boss"), "{rights}: {told}");
        }
        assert_eq!(bed.accounts().await, before, "{rights}");
        // It may change itself.
        let alone = single(&server, current, login("boss", "pw-2"));
        assert_eq!(set(&alone).await, Outcome::Done, "{rights}");
    }
}

#[tokio::test]
async fn an_admin_with_all_rights_changes_neither_itself_nor_the_servers_own() {
    let bed = Bed::new().await;
    bed.execute(
        "CREATE USER boss@'%' IDENTIFIED BY 'pw-1'; GRANT ALL ON *.* TO boss@'%' WITH GRANT OPTION; \
         CREATE USER root@'%' IDENTIFIED BY 'pw-1'; DROP USER root@localhost",
    )
    .await;
    let server = bed.server();
    let boss = login("boss", "pw-1");
    for by in [KEEPER, boss] {
        let admin = Some(Admin {
            login: by,
            ..keeper()
        });
        for (current, why) in [
            (by, "the admin itself"),
            (login("root", "pw-1"), "server's own"),
        ] {
            let change = Change {
                admin,
                ..administered(&server, current, login(current.user, "pw-2"))
            };
            let told = words(set(&change).await, Kind::Rejected);
            assert!(told.contains(why), "{told}");
            assert_eq!(check(&server, current).await, Outcome::Done);
        }
    }
}

#[tokio::test]
async fn a_user_whose_password_nobody_knows_is_not_changed_by_whoever_names_it() {
    let bed = Bed::new().await;
    bed.user("victim").await;
    bed.user("mine").await;
    let server = bed.server();
    let (guess, pending) = (login("victim", "pw-guess"), login("victim", "pw-2"));
    let before = bed.accounts().await;
    // Nor does another user's password help.
    for previous in [None, Some(login("mine", "pw-1"))] {
        let change = Change {
            previous,
            ..administered(&server, guess, pending)
        };
        words(set(&change).await, Kind::OwnershipConflict);
    }
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn an_admin_changes_only_the_users_that_its_secret_allows() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.user("app_one").await;
    let server = bed.server();
    let list = SecretBytes::copy_of(b"app_*, orders_clone");
    let secret = SecretValue::from_entries([("allowedUsers".to_owned(), list)]).unwrap();
    let allowed = AllowedUsers::from_value(&secret).unwrap();
    let admin = Some(Admin {
        allowed: &allowed,
        ..keeper()
    });
    let orders = login("orders", "pw-1");
    let refused = Change {
        admin,
        ..administered(&server, orders, login("orders", "pw-2"))
    };
    let told = words(set(&refused).await, Kind::Rejected);
    assert!(told.contains("allowedUsers"), "{told}");
    assert_eq!(test(&server, orders).await, Outcome::Done);
    for change in [
        administered(&server, login("app_one", "pw-1"), login("app_one", "pw-2")),
        alternating(&server, orders, login("orders_clone", "pw-2"), None),
    ] {
        let change = Change { admin, ..change };
        assert_eq!(set(&change).await, Outcome::Done);
    }
}

#[tokio::test]
async fn an_admin_that_lacks_a_right_is_told_which() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.user("clerk").await;
    bed.execute(
        "CREATE USER reader@'%' IDENTIFIED BY 'pw-1'; GRANT SELECT ON mysql.* TO reader@'%'",
    )
    .await;
    let server = bed.server();
    let current = login("orders", "pw-1");
    let before = bed.accounts().await;
    for admin in ["clerk", "reader"] {
        let admin = Some(Admin {
            login: login(admin, "pw-1"),
            ..keeper()
        });
        for change in [
            administered(&server, current, login("orders", "pw-2")),
            alternating(&server, current, login("orders_clone", "pw-2"), None),
        ] {
            let told = words(set(&Change { admin, ..change }).await, Kind::Rejected);
            assert!(told.contains("CREATE USER"), "{told}");
        }
    }
    assert_eq!(bed.accounts().await, before);

    let admin = Some(Admin {
        login: login("keeper", "pw-wrong"),
        ..keeper()
    });
    let change = administered(&server, current, login("orders", "pw-2"));
    let told = words(set(&Change { admin, ..change }).await, Kind::Rejected);
    assert!(told.contains("admin `keeper`"), "{told}");
}

#[tokio::test]
async fn a_user_with_accounts_for_several_hosts_is_changed_by_nobody_but_itself() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("CREATE USER orders@'10.0.0.%' IDENTIFIED BY 'pw-other'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    for change in [
        administered(&server, current, pending),
        alternating(&server, current, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(
            told.contains("`%`") && told.contains("`10.0.0.%`"),
            "{told}"
        );
    }
    assert_eq!(bed.accounts().await, before);
    // By itself it changes the account that it has logged in to.
    let other = "SELECT Priv FROM mysql.global_priv WHERE User = 'orders' AND Host = '10.0.0.%'";
    let untouched = bed.execute(other).await;
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    assert_eq!(bed.execute(other).await, untouched);
}

#[tokio::test]
async fn a_login_that_ends_as_the_anonymous_user_proves_nothing() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    // It is the better match, as its host is more specific.
    bed.execute("CREATE USER ''@'127.0.0.1' IDENTIFIED BY 'pw-2'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("anonymous"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
}

#[tokio::test]
async fn a_user_that_logs_in_without_a_password_of_ours_is_told_by_its_way() {
    let bed = Bed::new().await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for (identified, why, kind) in [
        ("VIA unix_socket", "not with a password", Kind::Rejected),
        (
            "VIA mysql_native_password USING PASSWORD('pw-1') OR unix_socket",
            "not with a password",
            Kind::Rejected,
        ),
        (
            "VIA mysql_native_password",
            "orders",
            Kind::OwnershipConflict,
        ),
    ] {
        bed.execute(&format!(
            "CREATE OR REPLACE USER orders@'%' IDENTIFIED {identified}"
        ))
        .await;
        let before = bed.accounts().await;
        for change in [
            single(&server, current, pending),
            administered(&server, current, pending),
        ] {
            let told = words(set(&change).await, kind);
            assert!(told.contains(why), "{identified}: {told}");
        }
        assert_eq!(bed.accounts().await, before);
    }
}

#[tokio::test]
async fn a_role_of_that_name_is_no_user() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("CREATE ROLE orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("is a role"), "{told}");
}
