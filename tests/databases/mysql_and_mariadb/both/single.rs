//! One user, whose password is changed by itself or by an admin.

use keystead::rotation::mysql::{check, discard_old, set, test};
use keystead::rotation::rotator::{Login, Outcome};

use super::super::bed::{Bed, Database};
use crate::changes::{KEEPER, administered, after_a_restore, alternating, single};
use crate::outcomes::{Kind, login, words};

for_both!(
    a_user_changes_its_own_password,
    a_change_that_is_repeated_changes_nothing,
    a_change_outlives_a_server_that_is_killed_right_after_it,
    a_password_that_somebody_else_changed_is_a_conflict_and_stays,
    a_password_that_has_expired_is_renewed_by_an_admin,
    a_locked_user_is_not_changed,
    an_admin_rotates_itself_as_a_single_user,
    a_restored_database_is_set_right_only_by_an_admin_and_for_an_account_with_the_marker,
    a_password_may_be_of_any_characters_of_a_text,
    a_user_may_have_any_name_whatever_the_server_takes_for_quotes,
);

async fn a_user_changes_its_own_password<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    assert_eq!(check(&server, pending).await, Outcome::Done);
    words(check(&server, current).await, Kind::OwnershipConflict);
    // The server's own client agrees about what the password is.
    assert_eq!(
        bed.as_user(pending, "SELECT CURRENT_USER()").await,
        "orders@%"
    );
}

async fn a_change_that_is_repeated_changes_nothing<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
        let before = bed.accounts().await;
        assert_eq!(set(&change).await, Outcome::Done);
        assert_eq!(bed.accounts().await, before);
    }
}

async fn a_change_outlives_a_server_that_is_killed_right_after_it<D: Database>(mut bed: Bed<D>) {
    bed.user("orders").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let change = single(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    bed.database.kill();
    words(set(&change).await, Kind::Retry);
    words(check(&server, pending).await, Kind::Retry);
    bed.database.start_again().await;
    let before = bed.accounts().await;
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(bed.accounts().await, before);
    bed.database.restart().await;
    assert_eq!(check(&server, pending).await, Outcome::Done);
}

async fn a_password_that_somebody_else_changed_is_a_conflict_and_stays<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    bed.execute("ALTER USER orders@'%' IDENTIFIED BY 'pw-of-somebody'")
        .await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    words(check(&server, current).await, Kind::OwnershipConflict);
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
        alternating(&server, current, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::OwnershipConflict);
        assert!(told.contains("orders"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
}

async fn a_password_that_has_expired_is_renewed_by_an_admin<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    bed.execute("ALTER USER orders@'%' PASSWORD EXPIRE").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let told = words(check(&server, current).await, Kind::Rejected);
    assert!(told.contains("expired"), "{told}");
    let before = bed.accounts().await;
    let alone = set(&single(&server, current, pending)).await;
    assert!(words(alone, Kind::Rejected).contains("expired"));
    assert_eq!(bed.accounts().await, before);
    let change = administered(&server, current, pending);
    assert_eq!(set(&change).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

async fn a_locked_user_is_not_changed<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    bed.execute("ALTER USER orders@'%' ACCOUNT LOCK").await;
    let server = bed.server();
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let before = bed.accounts().await;
    for change in [
        single(&server, current, pending),
        administered(&server, current, pending),
        alternating(&server, current, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("locked"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);
}

async fn an_admin_rotates_itself_as_a_single_user<D: Database>(bed: Bed<D>) {
    let server = bed.server();
    let pending = login("keeper", "pw-2");
    assert_eq!(set(&single(&server, KEEPER, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
}

async fn a_user_may_have_any_name_whatever_the_server_takes_for_quotes<D: Database>(_: Bed<D>) {
    for mode in [
        "ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
        "ANSI_QUOTES,PIPES_AS_CONCAT",
    ] {
        let bed = Bed::<D>::with(&[("sql-mode", mode)]).await;
        let server = bed.server();
        for name in [
            "Orders of \"1\"",
            "o'; DROP USER keeper; --",
            "back\\slash'",
            "back\\",
            "`o``s`@`h",
            "a@b",
            "Bestellungen für 1 €",
            "%",
        ] {
            let quoted = name.replace('`', "``");
            bed.user(&quoted).await;
            bed.execute(&format!("GRANT SELECT ON shop.stock TO `{quoted}`@`%`"))
                .await;
            let clone = format!("{name}_clone");
            let (one, two) = (login(name, "pw-1"), login(name, "pw-2"));
            let (three, four) = (login(name, "pw-3"), login(&clone, "pw-4"));
            for change in [
                single(&server, one, two),
                administered(&server, two, three),
                alternating(&server, three, four, None),
            ] {
                assert_eq!(set(&change).await, Outcome::Done, "{name}");
                assert_eq!(discard_old(&change).await, Outcome::Done, "{name}");
            }
            assert_eq!(test(&server, three).await, Outcome::Done, "{name}");
            bed.as_user(four, "SELECT * FROM shop.stock").await;
        }
        assert_eq!(test(&server, KEEPER).await, Outcome::Done);
    }
}

async fn a_restored_database_is_set_right_only_by_an_admin_and_for_an_account_with_the_marker<
    D: Database,
>(
    bed: Bed<D>,
) {
    bed.user("orders").await;
    let server = bed.server();
    let [alone, with_admin] = after_a_restore(&server);
    bed.execute(D::MARKED_BY_ANOTHER).await;
    let before = bed.accounts().await;
    for change in [&alone, &with_admin] {
        let told = words(set(change).await, Kind::OwnershipConflict);
        assert!(told.contains("restored"), "{told}");
    }
    assert_eq!(bed.accounts().await, before);

    bed.execute(D::MARKED).await;
    words(set(&alone).await, Kind::OwnershipConflict);
    assert_eq!(set(&with_admin).await, Outcome::Done);
    assert_eq!(test(&server, with_admin.pending).await, Outcome::Done);
}

async fn a_password_may_be_of_any_characters_of_a_text<D: Database>(bed: Bed<D>) {
    bed.user("orders").await;
    let server = bed.server();
    let printable: String = (' '..='~').collect();
    let spaces = "  x\u{a0}y\t\r\n ".to_owned();
    let foreign = "пароль🔑\u{ad}ﬁ".to_owned();
    let quotes = "\\' OR ''=''; -- \"`\\".to_owned();
    let mut current = "pw-1".to_owned();
    for (number, next) in [printable, spaces, foreign, quotes, "a".repeat(250)]
        .iter()
        .enumerate()
    {
        for (by_admin, next) in [(false, format!("{next}{number}")), (true, next.clone())] {
            let (before, after) = (login("orders", &current), login("orders", &next));
            let change = if by_admin {
                administered(&server, before, after)
            } else {
                single(&server, before, after)
            };
            assert_eq!(set(&change).await, Outcome::Done, "{next}");
            assert_eq!(test(&server, after).await, Outcome::Done, "{next}");
            assert_eq!(discard_old(&change).await, Outcome::Done, "{next}");
            words(test(&server, before).await, Kind::OwnershipConflict);
            bed.as_user(after, "SELECT 1").await;
            current = next;
        }
    }
    let bytes = Login {
        user: "orders",
        password: &[0xff, b'x'],
    };
    let change = single(&server, login("orders", &current), bytes);
    let told = words(set(&change).await, Kind::Rejected);
    assert!(told.contains("text"), "{told}");
}
