//! Two users in turn.

use keystead::rotation::redis::{Change, Server, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::RedisUsers;

use super::support::{Bed, Kind, alternating, login, single, words};

#[tokio::test]
async fn two_users_take_turns_and_the_one_before_works_on() {
    for users in [RedisUsers::File, RedisUsers::Configuration] {
        let bed = Bed::keeping(users).await;
        bed.user("orders").await;
        let rights = bed.rights("orders").await;
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
                assert_eq!(bed.passwords(login.user).await, 1, "{round}");
                assert_eq!(bed.rights(login.user).await, rights, "{round}");
            }
            if let Some(previous) = previous {
                words(test(&server, previous).await, Kind::OwnershipConflict);
            }
            // Each of them reads what the other one wrote.
            let write = format!("SET or:{round} {}", current.user);
            bed.as_user(current, &write).await;
            let read = bed.as_user(pending, &format!("GET or:{round}")).await;
            assert_eq!(read, current.user);
        }
    }
}

#[tokio::test]
async fn the_second_user_is_made_with_exactly_the_rules_of_the_first_one() {
    let bed = Bed::new().await;
    let server = bed.server();
    for (number, rules) in [
        "~* &* -@all +@read +@write -flushall",
        "+@all -@admin -@dangerous ~a:* %R~b:* %W~c:* %RW~d:*",
        "allchannels allkeys -@all +get +config|get +client|setname +select|0",
        "resetchannels &a* &b:* resetkeys nocommands (+set ~x:*) (+@read -get %R~y:* &q) (+publish &*)",
        "skip-sanitize-payload +restore ~r:*",
        "~quote:\"it's\" ~back\\slash +ping",
        "resetchannels -@all",
    ]
    .iter()
    .enumerate()
    {
        let (first, second) = (format!("u{number}"), format!("u{number}_clone"));
        bed.execute(&format!("ACL SETUSER {first} on >pw-1 {rules}")).await;
        let (current, pending) = (login(&first, "pw-1"), login(&second, "pw-2"));
        let change = alternating(&server, current, pending, None);
        assert_eq!(set(&change).await, Outcome::Done, "{rules}");
        let rights = bed.rights(&first).await;
        assert_eq!(bed.rights(&second).await, rights, "{rules}");
        assert_eq!(test(&server, pending).await, Outcome::Done);
    }
}

#[tokio::test]
async fn the_second_user_has_no_channels_that_the_first_one_has_not_whatever_the_server_gives_new_ones()
 {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ACL SETUSER orders (+get ~x:*)\nCONFIG SET acl-pubsub-default allchannels")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.rights("orders_clone").await, bed.rights("orders").await);
    assert!(!bed.rights("orders_clone").await.contains("&*"));
}

#[tokio::test]
async fn the_second_user_follows_what_the_first_one_got_and_lost_since() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (one, two) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let (three, four) = (login("orders", "pw-3"), login("orders_clone", "pw-4"));
    let first = alternating(&server, one, two, None);
    assert_eq!(set(&first).await, Outcome::Done);
    bed.execute(
        "ACL SETUSER orders resetkeys ~new:* -@write (+set ~x:*)\nACL SETUSER orders_clone ~own:* >pw-of-somebody",
    )
    .await;
    let rights = bed.rights("orders").await;
    // The first one's turn: it gets nothing of the second one's.
    let change = alternating(&server, two, three, Some(one));
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.rights("orders").await, rights);
    // The second one's: it is as the first one is now.
    let change = alternating(&server, three, four, Some(two));
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.rights("orders_clone").await, rights);
    assert_eq!(bed.passwords("orders_clone").await, 1);
    bed.as_user(four, "SET x:1 1").await;
    assert!(bed.try_as_user(four, "SET or:1 1").await.is_err());
}

#[tokio::test]
async fn a_turn_that_is_begun_anew_follows_rules_that_changed_in_between() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let change = alternating(&server, current, pending, None);
    assert_eq!(set(&change).await, Outcome::Done);
    let before = bed.users().await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.users().await, before);
    bed.execute("ACL SETUSER orders ~more:*").await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.rights("orders_clone").await, bed.rights("orders").await);
}

#[tokio::test]
async fn the_first_user_keeps_the_passwords_that_somebody_else_gave_it() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.execute("ACL SETUSER orders >pw-of-somebody").await;
    let server = bed.server();
    let (one, two) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let three = login("orders", "pw-3");
    assert_eq!(
        set(&alternating(&server, one, two, None)).await,
        Outcome::Done
    );
    assert_eq!(
        set(&alternating(&server, two, three, Some(one))).await,
        Outcome::Done
    );
    words(test(&server, one).await, Kind::OwnershipConflict);
    let foreign = login("orders", "pw-of-somebody");
    assert_eq!(test(&server, foreign).await, Outcome::Done);
}

#[tokio::test]
async fn a_second_user_of_somebody_else_is_left_alone_and_the_remedy_is_told() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    bed.user("orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    let before = bed.users().await;
    // Neither another password nor that of another user shows anything.
    for previous in [
        None,
        Some(login("orders_clone", "pw-0")),
        Some(login("orders", "pw-1")),
    ] {
        let change = alternating(&server, current, pending, previous);
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(
            told.contains("`orders_clone`") && told.contains("ACL DELUSER"),
            "{told}"
        );
    }
    assert_eq!(bed.users().await, before);
    // The stored password shows that it is this secret's.
    let own = Some(login("orders_clone", "pw-1"));
    let change = alternating(&server, current, pending, own);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_second_user_that_was_made_for_a_version_that_is_gone_is_made_again_when_it_is_deleted() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let current = login("orders", "pw-1");
    let gone = alternating(&server, current, login("orders_clone", "pw-2"), None);
    assert_eq!(set(&gone).await, Outcome::Done);
    let pending = login("orders_clone", "pw-3");
    let next = alternating(&server, current, pending, None);
    words(set(&next).await, Kind::OwnershipConflict);
    bed.execute("ACL DELUSER orders_clone").await;
    assert_eq!(set(&next).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_second_user_that_somebody_put_off_gets_no_password() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let (current, second) = (login("orders", "pw-1"), login("orders_clone", "pw-2"));
    assert_eq!(
        set(&alternating(&server, current, second, None)).await,
        Outcome::Done
    );
    bed.execute("ACL SETUSER orders_clone off").await;
    let before = bed.users().await;
    let next = alternating(
        &server,
        current,
        login("orders_clone", "pw-3"),
        Some(second),
    );
    let told = words(set(&next).await, Kind::Rejected);
    assert!(told.contains("is off"), "{told}");
    assert_eq!(bed.users().await, before);
}

#[tokio::test]
async fn a_first_user_that_is_gone_is_not_made_anew() {
    let bed = Bed::new().await;
    bed.user("orders_clone").await;
    let server = bed.server();
    let (current, pending) = (login("orders_clone", "pw-1"), login("orders", "pw-2"));
    let change = alternating(&server, current, pending, Some(login("orders", "pw-0")));
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("no user `orders`"), "{told}");
}

#[tokio::test]
async fn two_users_that_cannot_be_are_refused() {
    let bed = Bed::new().await;
    let long = "o".repeat(124);
    let nowhere = Server {
        port: 1,
        ..bed.server()
    };
    let current = login("orders", "pw-1");
    let clone = login("orders_clone", "pw-2");
    let alone = Change {
        admin: None,
        ..alternating(&nowhere, current, clone, None)
    };
    for change in [
        alone,
        alternating(&nowhere, current, login("orders", "pw-2"), None),
        alternating(&nowhere, current, login("other_clone", "pw-2"), None),
        alternating(&nowhere, login(&long, "pw-1"), clone, None),
        alternating(&nowhere, login("", "pw-1"), clone, None),
        alternating(
            &nowhere,
            login("default", "pw-1"),
            login("default_clone", "pw-2"),
            None,
        ),
        alternating(
            &nowhere,
            login("default_clone", "pw-1"),
            login("default", "pw-2"),
            None,
        ),
        single(&nowhere, current, clone),
    ] {
        words(set(&change).await, Kind::Rejected);
    }
}

#[tokio::test]
async fn a_turn_is_taken_back_and_the_user_whose_turn_it_was_has_its_password_again() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let server = bed.server();
    let versions = [
        login("orders", "pw-1"),
        login("orders_clone", "pw-2"),
        login("orders", "pw-3"),
        login("orders_clone", "pw-4"),
    ];
    let [one, two, three, four] = versions;
    assert_eq!(
        set(&alternating(&server, one, two, None)).await,
        Outcome::Done
    );
    for (previous, current, pending) in [(one, two, three), (two, three, four)] {
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
        assert_eq!(set(&turn).await, Outcome::Done);
    }
}
