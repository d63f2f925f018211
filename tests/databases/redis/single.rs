//! One user, whose password is changed by itself or by an admin.

use keystead::rotation::redis::{Change, check, set, test};
use keystead::rotation::rotator::{Login, Outcome};

use super::support::{Bed, Kind, administered, alternating, login, single, words};

#[tokio::test]
async fn a_user_changes_its_own_password_and_the_one_before_works_on() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.independent("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    for login in [current, pending] {
        assert_eq!(test(&server, login).await, Outcome::Done);
        assert_eq!(check(&server, login).await, Outcome::Done);
        // The server's own client agrees about what the password is.
        assert_eq!(bed.as_user(login, "ACL WHOAMI").await, "orders");
    }
    let wrong = login("orders", "pw-3");
    words(check(&server, wrong).await, Kind::OwnershipConflict);
}

#[tokio::test]
async fn an_admin_that_has_not_all_rights_changes_the_password_of_a_user() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ACL SETUSER orders (+set ~x:*)").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let rights = bed.rights("orders").await;
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    for login in [current, pending] {
        assert_eq!(test(&server, login).await, Outcome::Done);
    }
    assert_eq!(bed.rights("orders").await, rights);
}

#[tokio::test]
async fn a_change_that_is_repeated_changes_nothing() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.independent("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = single(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    let before = bed.users().await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.users().await, before);

    bed.user("stock").await;
    let (current, pending) = (login("stock", "pw-1"), login("stock", "pw-2"));
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    let before = bed.users().await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.users().await, before);
}

#[tokio::test]
async fn the_password_before_the_one_before_ends_and_those_of_others_stay() {
    let bed = Bed::new().await;
    for user in ["orders", "stock"] {
        bed.user(user).await;
        bed.execute(&format!("ACL SETUSER {user} >pw-of-somebody"))
            .await;
    }
    bed.independent("orders").await;
    let server = bed.server();
    for (user, change) in [
        ("orders", single as fn(_, _, _) -> _),
        ("stock", administered),
    ] {
        let versions = ["pw-1", "pw-2", "pw-3", "pw-4"].map(|password| login(user, password));
        for round in 1..versions.len() {
            let change = Change {
                previous: (round > 1).then(|| versions[round - 2]),
                ..change(&server, versions[round - 1], versions[round])
            };
            assert_eq!(set(&change).await, Outcome::Done, "{user} {round}");
            for (place, version) in versions.iter().enumerate() {
                let works = test(&server, *version).await == Outcome::Done;
                let expected = place == round || place + 1 == round;
                assert_eq!(works, expected, "{user} {round} {place}");
            }
            let foreign = login(user, "pw-of-somebody");
            assert_eq!(
                test(&server, foreign).await,
                Outcome::Done,
                "{user} {round}"
            );
        }
    }
}

#[tokio::test]
async fn a_password_that_somebody_else_changed_is_a_conflict_and_stays() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.independent("orders").await;
    bed.user("stock").await;
    bed.execute(
        "ACL SETUSER orders resetpass >pw-of-somebody\nACL SETUSER stock resetpass >pw-of-somebody",
    )
    .await;
    let server = bed.server();
    let (orders, stock) = (login("orders", "pw-1"), login("stock", "pw-1"));
    let before = bed.users().await;
    words(check(&server, orders).await, Kind::OwnershipConflict);
    for change in [
        single(&server, orders, login("orders", "pw-2")),
        administered(&server, stock, login("stock", "pw-2")),
        alternating(&server, stock, login("stock_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(told.contains(change.current.user), "{told}");
    }
    assert_eq!(bed.users().await, before);
}

#[tokio::test]
async fn a_restored_server_is_told_to_the_user_and_set_right_by_an_admin() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.independent("orders").await;
    bed.user("stock").await;
    let server = bed.server();
    let before = bed.users().await;
    let alone = Change {
        previous: Some(login("orders", "pw-1")),
        ..single(&server, login("orders", "pw-2"), login("orders", "pw-3"))
    };
    let told = words(set(&alone).await, Kind::OwnershipConflict);
    assert!(told.contains("restored"), "{told}");
    assert_eq!(bed.users().await, before);

    let previous = login("stock", "pw-1");
    let by_admin = Change {
        previous: Some(previous),
        ..administered(&server, login("stock", "pw-2"), login("stock", "pw-3"))
    };
    assert_eq!(set(&by_admin).await, Outcome::Done);
    assert_eq!(test(&server, by_admin.pending).await, Outcome::Done);
    // Consumers may have nothing else, now.
    assert_eq!(test(&server, previous).await, Outcome::Done);
}

#[tokio::test]
async fn a_password_may_be_of_any_bytes_but_zero() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let printable: Vec<u8> = (b' '..=b'~').collect();
    let spaces = b"  x\t\r\n $5\r\n*3\r\n ".to_vec();
    let bytes: Vec<u8> = (1..=255).collect();
    let long = vec![b'a'; 16 * 1024];
    let mut current = b"pw-1".to_vec();
    for next in [printable, spaces, bytes, long, "пароль🔑".into()] {
        let before = Login {
            user: "orders",
            password: &current,
        };
        let after = Login {
            user: "orders",
            password: &next,
        };
        let change = administered(&server, before, after);
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(test(&server, after).await, Outcome::Done);
        current = next;
    }
}

#[tokio::test]
async fn a_user_may_have_any_name_that_the_server_takes_without_quotes() {
    let bed = Bed::new().await;
    let server = bed.server();
    for name in [
        "o;DROP",
        "back\\slash",
        "a@b",
        "Bestellungen-für-1-€",
        "#9f86",
        ">x",
        "(x)",
        "*",
    ] {
        bed.user(name).await;
        let clone = format!("{name}_clone");
        let (one, two) = (login(name, "pw-1"), login(name, "pw-2"));
        let (three, four) = (login(&clone, "pw-3"), login(name, "pw-4"));
        for change in [
            administered(&server, one, two),
            alternating(&server, two, three, None),
            alternating(&server, three, four, Some(two)),
        ] {
            assert_eq!(set(&change).await, Outcome::Done, "{name}");
            assert_eq!(test(&server, change.pending).await, Outcome::Done, "{name}");
        }
    }
    for name in ["", "a b", "a\"b", "it's", "a\tb"] {
        let change = administered(&server, login(name, "pw-1"), login(name, "pw-2"));
        words(set(&change).await, Kind::Rejected);
    }
}

#[tokio::test]
async fn a_user_that_is_off_or_let_in_with_anything_is_not_changed() {
    let bed = Bed::new().await;
    let server = bed.server();
    for (state, why) in [("off", "is off"), ("nopass", "nopass")] {
        bed.execute("ACL DELUSER orders itself").await;
        bed.user("orders").await;
        bed.user("itself").await;
        bed.independent("itself").await;
        bed.execute(&format!(
            "ACL SETUSER orders {state}\nACL SETUSER itself {state}"
        ))
        .await;
        let before = bed.users().await;
        let orders = login("orders", "pw-1");
        for change in [
            administered(&server, orders, login("orders", "pw-2")),
            alternating(&server, orders, login("orders_clone", "pw-2"), None),
        ] {
            let told = words(set(&change).await, Kind::Rejected);
            assert!(told.contains(why), "{told}");
        }
        let alone = single(&server, login("itself", "pw-1"), login("itself", "pw-2"));
        // The server does not tell that a user is off.
        let kind = if state == "off" {
            Kind::OwnershipConflict
        } else {
            Kind::Rejected
        };
        words(set(&alone).await, kind);
        assert_eq!(bed.users().await, before);
    }
}

#[tokio::test]
async fn a_user_that_may_not_change_itself_is_told_to_name_an_admin() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let change = single(&server, login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.users().await;
    for right in ["+info", "+config|get", "+acl|getuser", "+acl|save"] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("name an admin"), "{told}");
        assert!(told.contains("+acl|setuser"), "{told}");
        bed.execute(&format!("ACL SETUSER orders {right}")).await;
    }
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("ACL SETUSER is refused"), "{told}");
    bed.execute("ACL SETUSER orders -info -config|get -acl|getuser -acl|save")
        .await;
    assert_eq!(bed.passwords("orders").await, 1);
    assert_eq!(bed.users().await.lines().count(), before.lines().count());
    bed.independent("orders").await;
    assert_eq!(set(&change).await, Outcome::Done);
}

#[tokio::test]
async fn a_change_is_taken_back_by_the_same_change_the_other_way_round() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.independent("orders").await;
    bed.user("stock").await;
    let server = bed.server();
    for (user, change) in [
        ("orders", single as fn(_, _, _) -> _),
        ("stock", administered),
    ] {
        let (current, pending) = (login(user, "pw-1"), login(user, "pw-2"));
        // Nothing had been changed yet.
        let back: Change = change(&server, pending, current);
        assert_eq!(set(&back).await, Outcome::Done);
        assert_eq!(set(&change(&server, current, pending)).await, Outcome::Done);
        assert_eq!(set(&back).await, Outcome::Done);
        assert_eq!(test(&server, current).await, Outcome::Done);
    }
}

#[tokio::test]
async fn no_login_that_fails_is_tried_where_an_admin_can_look() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(
        set(&administered(&server, current, pending)).await,
        Outcome::Done
    );
    let clone = login("orders_clone", "pw-3");
    assert_eq!(
        set(&alternating(&server, pending, clone, None)).await,
        Outcome::Done
    );
    // Whoever watches over the server is not alarmed by rotations.
    assert_eq!(bed.execute("ACL LOG").await, "");
}
