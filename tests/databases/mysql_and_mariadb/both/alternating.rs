//! Two users in turn.

use keystead::rotation::mysql::{Change, Server, set, test};
use keystead::rotation::rotator::Outcome;

use super::super::bed::{Bed, Database};
use crate::changes::{alternating, single};
use crate::outcomes::{Kind, login, words};

for_both!(
    two_users_take_turns_and_the_one_before_works_on,
    the_second_user_gets_what_the_first_one_got_since_and_gives_nothing_back,
    a_second_user_with_the_marker_gets_a_password_whatever_it_had,
    a_second_user_of_somebody_else_is_left_alone,
    a_second_user_that_somebody_locked_gets_no_password,
    a_first_user_that_is_gone_is_not_made_anew,
    two_users_that_cannot_be_are_refused,
    a_second_user_whose_rights_the_admin_cannot_give_does_not_log_in_until_it_can,
    a_turn_is_taken_back_and_the_user_whose_turn_it_was_has_its_password_again,
);

async fn two_users_take_turns_and_the_one_before_works_on<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    bed.execute("GRANT SELECT, INSERT, CREATE, ALTER ON shop.* TO orders@'%'")
        .await;
    let server = bed.server();
    let versions = [
        login("orders", "pw-1"),
        login("orders_clone", "pw-2"),
        login("orders", "pw-3"),
        login("orders_clone", "pw-4"),
        login("orders", "pw-5"),
    ];
    for (round, version) in versions.windows(2).enumerate() {
        let (current, pending) = (version[0], version[1]);
        let previous = round.checked_sub(1).map(|before| versions[before]);
        let change = alternating(&server, current, pending, previous);
        assert_eq!(set(&change).await, Outcome::Done, "{round}");
        for login in [pending, current] {
            assert_eq!(test(&server, login).await, Outcome::Done, "{round}");
        }
        if let Some(previous) = previous {
            words(test(&server, previous).await, Kind::OwnershipConflict);
        }
        // Each of them reads and writes what is granted to the first one, and changes what the other one has made.
        for (by, other) in [(current, pending), (pending, current)] {
            let table = format!("shop.by_{}_{round}", by.user);
            let make = format!("INSERT INTO shop.stock VALUES (1); CREATE TABLE {table} (n int)");
            bed.as_user(by, &make).await;
            let change = format!(
                "INSERT INTO {table} SELECT * FROM shop.stock; ALTER TABLE {table} ADD m int"
            );
            bed.as_user(other, &change).await;
        }
    }
}

async fn the_second_user_gets_what_the_first_one_got_since_and_gives_nothing_back<D: Database>(
    bed: Bed<D>,
) {
    bed.user("orders").await;
    bed.execute("GRANT SELECT, INSERT ON shop.* TO orders@'%'")
        .await;
    let server = bed.server();
    let (one, two) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let (three, four) = (login("orders", "pw-3"), login("orders_clone", "pw-4"));
    assert_eq!(
        set(&alternating(&server, one, two, None)).await,
        Outcome::Done
    );
    bed.execute(
        "GRANT DELETE ON shop.* TO orders@'%'; REVOKE INSERT ON shop.* FROM orders@'%'; \
         GRANT UPDATE ON shop.* TO orders_clone@'%'; ALTER USER orders_clone@'%' IDENTIFIED BY 'pw-2'",
    )
    .await;
    // The first one's turn: it gets nothing of the second one's.
    let change = alternating(&server, two, three, Some(one));
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(
        bed.grants("orders").await,
        "GRANT SELECT, DELETE ON `shop`.* TO `orders`@`%`"
    );
    // The second one's: it gets what is new, and keeps what it has.
    let change = alternating(&server, three, four, Some(two));
    assert_eq!(set(&change).await, Outcome::Done);
    let grants = bed.grants("orders_clone").await;
    assert!(
        grants.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON `shop`.*"),
        "{grants}"
    );
    bed.as_user(four, "DELETE FROM shop.stock").await;
    assert!(
        bed.try_as_user(three, "INSERT INTO shop.stock VALUES (1)")
            .await
            .is_err()
    );
}

async fn a_second_user_with_the_marker_gets_a_password_whatever_it_had<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    let server = bed.server();
    let current = login("orders", "pw-1");
    let first = alternating(&server, current, login("orders_clone", "pw-2"), None);
    assert_eq!(set(&first).await, Outcome::Done);
    // That pending version was dropped before it was promoted, and nobody knows its password any more.
    let pending = login("orders_clone", "pw-3");
    let again = alternating(&server, current, pending, None);
    assert_eq!(set(&again).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

async fn a_second_user_of_somebody_else_is_left_alone<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    bed.user("orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let before = bed.accounts().await;
    for previous in [None, Some(login("orders_clone", "pw-0"))] {
        let change = alternating(&server, current, pending, previous);
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(told.contains("orders_clone"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
    // The stored password shows that it is this secret's.
    let change = alternating(
        &server,
        current,
        pending,
        Some(login("orders_clone", "pw-1")),
    );
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

async fn a_second_user_that_somebody_locked_gets_no_password<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    let server = bed.server();
    let (current, second) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let first = alternating(&server, current, second, None);
    assert_eq!(set(&first).await, Outcome::Done);
    bed.execute("ALTER USER orders_clone@'%' ACCOUNT LOCK")
        .await;
    let before = bed.accounts().await;
    for previous in [None, Some(second)] {
        let next = alternating(&server, current, login("orders_clone", "pw-3"), previous);
        let told = words(set(&next).await, Kind::Rejected);
        assert!(told.contains("locked"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
}

async fn a_first_user_that_is_gone_is_not_made_anew<D: Database>(bed: Bed<D>) {
    bed.user("orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders_clone", "pw-1"), login("orders", "pw-2"));
    let change = alternating(&server, current, pending, Some(login("orders", "pw-0")));
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("no user `orders`"), "{told}");
}

async fn two_users_that_cannot_be_are_refused<D: Database>(bed: Bed<D>) {
    let long = "o".repeat(124);
    let nowhere = Server {
        port: 1,
        ..bed.server()
    };
    let current = login("orders", "pw-1");
    let clone = login("orders_clone", "pw-2");
    let server = bed.server();
    let alone = Change {
        admin: None,
        ..alternating(&server, current, clone, None)
    };
    for change in [
        alone,
        alternating(&nowhere, current, login("orders", "pw-2"), None),
        alternating(&nowhere, current, login("other_clone", "pw-2"), None),
        alternating(&nowhere, login(&long, "pw-1"), clone, None),
        alternating(&nowhere, login("", "pw-1"), clone, None),
        alternating(&nowhere, login("orders ", "pw-1"), clone, None),
        single(&nowhere, current, clone),
    ] {
        words(set(&change).await, Kind::Rejected);
    }
}

async fn a_second_user_whose_rights_the_admin_cannot_give_does_not_log_in_until_it_can<
    D: Database,
>(
    bed: Bed<D>,
) {
    bed.user("orders").await;
    bed.execute("CREATE DATABASE other; GRANT SELECT ON shop.* TO orders@'%'; GRANT SELECT ON other.* TO orders@'%'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    for _ in 0..2 {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("GRANT OPTION"), "{told}");
        let told = words(test(&server, pending).await, Kind::Rejected);
        assert!(told.contains("locked"), "{told}");
    }
    bed.execute("GRANT SELECT ON other.* TO keeper@'%' WITH GRANT OPTION")
        .await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    let grants = bed.grants("orders_clone").await;
    assert!(grants.contains("`other`.*"), "{grants}");
}

async fn a_turn_is_taken_back_and_the_user_whose_turn_it_was_has_its_password_again<D: Database>(
    bed: Bed<D>,
) {
    bed.user("orders").await;
    let server = bed.server();
    let (previous, current) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let first = alternating(&server, previous, current, None);
    assert_eq!(set(&first).await, Outcome::Done);
    let pending = login("orders", "pw-3");
    let turn = alternating(&server, current, pending, Some(previous));
    assert_eq!(set(&turn).await, Outcome::Done);
    let back = alternating(&server, current, previous, Some(pending));
    for _ in 0..2 {
        assert_eq!(set(&back).await, Outcome::Done);
        for login in [previous, current] {
            assert_eq!(test(&server, login).await, Outcome::Done);
        }
        words(test(&server, pending).await, Kind::OwnershipConflict);
    }
}
