//! One user, whose password is changed by itself or by an admin.

use keystead::rotation::postgres::{check, set, test};
use keystead::rotation::rotator::{Login, Outcome};

use super::support::{Bed, Kind, MARKER, administered, after_a_restore, login, single, words};

#[tokio::test]
async fn a_user_changes_its_own_password() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    assert_eq!(check(&server, pending).await, Outcome::Done);
    words(check(&server, current).await, Kind::OwnershipConflict);
}

#[tokio::test]
async fn an_admin_that_is_no_superuser_changes_the_password_of_a_user() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    words(test(&server, current).await, Kind::OwnershipConflict);
}

#[tokio::test]
async fn a_change_that_is_repeated_changes_nothing() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
        let before = bed.roles().await;
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(bed.roles().await, before);
    }
}

#[tokio::test]
async fn a_change_outlives_a_server_that_is_killed_right_after_it() {
    let mut bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    // The role's own setting would have the server answer before the change is on the disk.
    bed.execute("ALTER ROLE orders SET synchronous_commit = off; CHECKPOINT")
        .await;
    let change = single(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    bed.postgres.kill().unwrap();
    words(set(&change).await, Kind::Retry);
    words(check(&server, pending).await, Kind::Retry);
    bed.postgres.start_again().await.unwrap();
    let before = bed.roles().await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.roles().await, before);
}

#[tokio::test]
async fn a_password_that_somebody_else_changed_is_a_conflict_and_stays() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    bed.execute("ALTER ROLE orders PASSWORD 'pw-of-somebody'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.roles().await;
    words(check(&server, current).await, Kind::OwnershipConflict);
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(told.contains("orders"), "{told}");
    }
    assert_eq!(bed.roles().await, before);
}

#[tokio::test]
async fn a_restored_database_is_set_right_only_by_an_admin_and_for_a_role_with_the_marker() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let [alone, with_admin] = after_a_restore(&server);
    let before = bed.roles().await;
    for change in [&alone, &with_admin] {
        let told = words(set(change).await, Kind::OwnershipConflict);
        assert!(told.contains("restored"), "{told}");
    }
    assert_eq!(bed.roles().await, before);

    bed.execute(&format!(
        "COMMENT ON ROLE orders IS E'of the shop\\n{MARKER}'"
    ))
    .await;
    words(set(&alone).await, Kind::OwnershipConflict);
    assert_eq!(set(&with_admin).await, Outcome::Done);
    assert_eq!(test(&server, with_admin.pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_password_may_be_of_any_characters() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let printable: String = (' '..='~').collect();
    let spaces = "  x\u{a0}y\t\r\n ".to_owned();
    let foreign = "пароль🔑\u{ad}ﬁ".to_owned();
    let passwords = [
        printable.into_bytes(),
        spaces.into_bytes(),
        foreign.into_bytes(),
        vec![0xff, 0xfe, b'\'', b'\\'],
        vec![b'a'; 1_000],
    ];
    let mut current = b"pw-1".to_vec();
    for next in passwords {
        let with = |password| Login {
            user: "orders",
            password,
        };
        let change = single(&server, with(&current), with(&next));
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(test(&server, with(&next)).await, Outcome::Done);
        words(test(&server, with(&current)).await, Kind::OwnershipConflict);
        current = next;
    }
    // The server's own client agrees about what the password is.
    let printable: String = (' '..='~').collect();
    let sql = printable.replace('\'', "''");
    bed.execute(&format!("ALTER ROLE orders PASSWORD '{sql}'"))
        .await;
    assert_eq!(
        test(&server, login("orders", &printable)).await,
        Outcome::Done
    );
}

#[tokio::test]
async fn a_role_may_have_any_name() {
    let bed = Bed::new().await;
    let server = bed.server();
    for name in [
        "Orders of \"1\"",
        "o'; DROP ROLE keeper; --",
        "back\\slash'",
        "Bestellungen für $do$",
        " ",
        "%I",
    ] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        bed.role(&quoted).await;
        let (one, two, three) = (
            login(name, "pw-1"),
            login(name, "pw-2"),
            login(name, "pw-3"),
        );
        assert_eq!(
            set(&single(&server, one, two)).await,
            Outcome::Done,
            "{name}"
        );
        assert_eq!(
            set(&administered(&server, two, three)).await,
            Outcome::Done,
            "{name}"
        );
        assert_eq!(test(&server, three).await, Outcome::Done, "{name}");
    }
}

#[tokio::test]
async fn a_user_whose_sessions_are_read_only_or_act_as_another_changes_its_own_password_all_the_same()
 {
    let bed = Bed::new().await;
    bed.role("orders").await;
    bed.execute(
        "CREATE ROLE app; GRANT app TO orders; ALTER ROLE orders SET role = app; \
         ALTER ROLE orders SET default_transaction_read_only = on",
    )
    .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn an_admin_rotates_itself_as_a_single_user() {
    let bed = Bed::new().await;
    let server = bed.server();
    let (user, password) = bed.postgres.superuser();
    let (current, pending) = (login(user, password), login(user, "pw-2"));
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

#[tokio::test]
async fn a_change_is_taken_back_by_the_same_change_the_other_way_round() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for change in [single, administered] {
        assert_eq!(set(&change(&server, current, pending)).await, Outcome::Done);
        // What was made to work is who proves that the user is this secret's.
        let back = change(&server, pending, current);
        assert_eq!(set(&back).await, Outcome::Done);
        assert_eq!(test(&server, current).await, Outcome::Done);
        words(test(&server, pending).await, Kind::OwnershipConflict);
        // It is so already, also where nothing had been changed yet.
        assert_eq!(set(&back).await, Outcome::Done);
    }
}
