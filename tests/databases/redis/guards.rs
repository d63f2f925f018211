//! Whom an admin does not change, whoever asks for it.

use keystead::crypto::SecretBytes;
use keystead::rotation::redis::{Admin, AllowedUsers, Change, check, set, test};
use keystead::rotation::rotator::{Login, Outcome};
use keystead::secrets::SecretValue;

use super::support::{Bed, KEEPER, Kind, administered, alternating, keeper, login, single, words};

#[tokio::test]
async fn a_mighty_user_is_not_changed_by_an_admin_even_with_the_password() {
    let bed = Bed::new().await;
    let server = bed.server();
    for rights in [
        "+@all",
        "+@admin",
        "+@dangerous",
        "+acl",
        "+acl|setuser",
        "+acl|deluser",
        "+acl|load",
        "+config",
        "+config|set",
        "+module",
        "+module|loadex",
        "+monitor",
        "+debug",
        "+replicaof",
        "+slaveof",
        "+failover",
        "+psync",
        "+sync",
        "+shutdown",
        "(+acl|setuser)",
        "+@all -@dangerous +@admin",
    ] {
        bed.execute(&format!(
            "ACL DELUSER boss\nACL SETUSER boss on >pw-1 {rights}"
        ))
        .await;
        let before = bed.users().await;
        let current = login("boss", "pw-1");
        for change in [
            administered(&server, current, login("boss", "pw-2")),
            alternating(&server, current, login("boss_clone", "pw-2"), None),
        ] {
            let told = words(set(&change).await, Kind::Rejected);
            assert!(
                told.contains("`boss`") && told.contains("-@admin"),
                "{rights}: {told}"
            );
        }
        assert_eq!(bed.users().await, before, "{rights}");
    }
    // It may change itself.
    bed.execute("ACL SETUSER boss +@all").await;
    let alone = single(&server, login("boss", "pw-1"), login("boss", "pw-2"));
    assert_eq!(set(&alone).await, Outcome::Done);
}

#[tokio::test]
async fn what_a_usual_consumer_may_do_is_not_mighty() {
    let bed = Bed::new().await;
    let server = bed.server();
    for (number, rights) in [
        "~* &* +@all -@admin",
        "~* &* +@all -@admin -@dangerous",
        "~* &* +@read +@write +@pubsub +keys +flushdb +info +client +eval +acl|whoami +config|get",
    ]
    .iter()
    .enumerate()
    {
        let (user, clone) = (format!("u{number}"), format!("u{number}_clone"));
        bed.execute(&format!("ACL SETUSER {user} on >pw-1 {rights}"))
            .await;
        let (one, two) = (login(&user, "pw-1"), login(&user, "pw-2"));
        for change in [
            administered(&server, one, two),
            alternating(&server, two, login(&clone, "pw-3"), None),
        ] {
            assert_eq!(set(&change).await, Outcome::Done, "{rights}");
        }
    }
}

#[tokio::test]
async fn a_second_user_that_somebody_made_mighty_is_not_changed() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, second) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    assert_eq!(
        set(&alternating(&server, current, second, None)).await,
        Outcome::Done
    );
    bed.execute("ACL SETUSER orders_clone +@all").await;
    let before = bed.users().await;
    let next = alternating(
        &server,
        current,
        login("orders_clone", "pw-3"),
        Some(second),
    );
    let told = words(set(&next).await, Kind::Rejected);
    assert!(told.contains("`orders_clone`"), "{told}");
    assert_eq!(bed.users().await, before);
}

#[tokio::test]
async fn nobody_changes_the_default_user_and_no_admin_itself() {
    let bed = Bed::new().await;
    bed.execute("ACL SETUSER default on >pw-1 +@read ~*\nACL SETUSER boss on >pw-1 ~* &* +@all")
        .await;
    let server = bed.server();
    let before = bed.users().await;
    let (default, boss) = (login("default", "pw-1"), login("boss", "pw-1"));
    for by in [KEEPER, boss, default] {
        let admin = Some(Admin {
            login: by,
            ..keeper()
        });
        for (current, pending) in [
            (default, login("default", "pw-2")),
            (
                by,
                Login {
                    password: b"pw-2",
                    ..by
                },
            ),
        ] {
            let change = Change {
                admin,
                ..administered(&server, current, pending)
            };
            let told = words(set(&change).await, Kind::Rejected);
            assert!(told.contains(current.user), "{told}");
        }
    }
    let clone = alternating(&server, KEEPER, login("keeper_clone", "pw-2"), None);
    let told = words(set(&clone).await, Kind::Rejected);
    assert!(told.contains("the admin itself"), "{told}");
    let alone = single(&server, default, login("default", "pw-2"));
    let told = words(set(&alone).await, Kind::Rejected);
    assert!(told.contains("requirepass"), "{told}");
    assert_eq!(bed.users().await, before);
    assert_eq!(check(&server, default).await, Outcome::Done);
}

#[tokio::test]
async fn the_default_user_may_be_the_admin() {
    let bed = Bed::new().await;
    bed.execute("ACL SETUSER default on >pw-admin ~* &* +@all")
        .await;
    bed.user("orders").await;
    let server = bed.server();
    let admin = Some(Admin {
        login: login("default", "pw-admin"),
        ..keeper()
    });
    let change = Change {
        admin,
        ..administered(&server, login("orders", "pw-1"), login("orders", "pw-2"))
    };
    assert_eq!(set(&change).await, Outcome::Done);
}

#[tokio::test]
async fn a_user_whose_password_nobody_knows_is_not_changed_by_whoever_names_it() {
    let bed = Bed::new().await;
    bed.user("victim").await;
    bed.user("mine").await;
    let server = bed.server();
    let (guess, pending) = (login("victim", "pw-guess"), login("victim", "pw-2"));
    let before = bed.users().await;
    // Nor does another user's password help, nor what the server stores of the right one.
    let stored = bed.digest("victim").await;
    for previous in [
        None,
        Some(login("mine", "pw-1")),
        Some(login("victim", &stored)),
    ] {
        let change = Change {
            previous,
            ..administered(&server, guess, pending)
        };
        words(set(&change).await, Kind::OwnershipConflict);
    }
    let clone = alternating(&server, guess, login("victim_clone", "pw-2"), None);
    words(set(&clone).await, Kind::OwnershipConflict);
    assert_eq!(bed.users().await, before);
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
    let before = bed.users().await;
    let refused = Change {
        admin,
        ..administered(&server, orders, login("orders", "pw-2"))
    };
    let told = words(set(&refused).await, Kind::Rejected);
    assert!(told.contains("allowedUsers"), "{told}");
    assert_eq!(bed.users().await, before);
    for change in [
        administered(&server, login("app_one", "pw-1"), login("app_one", "pw-2")),
        alternating(&server, orders, login("orders_clone", "pw-2"), None),
    ] {
        let change = Change { admin, ..change };
        assert_eq!(set(&change).await, Outcome::Done);
    }
}

#[tokio::test]
async fn an_admin_that_lacks_a_right_is_told_which_and_nothing_is_changed() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let current = login("orders", "pw-1");
    for right in [
        "info",
        "config|get",
        "acl|getuser",
        "acl|dryrun",
        "acl|save",
        "acl|setuser",
    ] {
        bed.execute(&format!("ACL SETUSER keeper -{right}")).await;
        let before = bed.users().await;
        for change in [
            administered(&server, current, login("orders", "pw-2")),
            alternating(&server, current, login("orders_clone", "pw-2"), None),
        ] {
            let told = words(set(&change).await, Kind::Rejected);
            assert!(told.contains(&format!("+{right}")), "{told}");
        }
        assert_eq!(bed.users().await, before);
        bed.execute(&format!("ACL SETUSER keeper +{right}")).await;
    }
    let admin = Some(Admin {
        login: login("keeper", "pw-wrong"),
        ..keeper()
    });
    let change = administered(&server, current, login("orders", "pw-2"));
    let told = words(set(&Change { admin, ..change }).await, Kind::Rejected);
    assert!(told.contains("admin `keeper`"), "{told}");
    assert_eq!(test(&server, current).await, Outcome::Done);
}

#[tokio::test]
async fn a_user_that_is_not_there_is_not_made() {
    let bed = Bed::new().await;
    let server = bed.server();
    let before = bed.users().await;
    let change = administered(&server, login("nobody", "pw-1"), login("nobody", "pw-2"));
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("no user `nobody`"), "{told}");
    assert_eq!(bed.users().await, before);
}
