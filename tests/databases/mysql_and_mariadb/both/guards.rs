//! Whom an admin does not change, whoever asks for it.

use keystead::crypto::SecretBytes;
use keystead::rotation::mysql::{Admin, AllowedUsers, Change, check, set, test};
use keystead::rotation::rotator::Outcome;
use keystead::secrets::SecretValue;

use super::super::bed::{Bed, Database};
use crate::changes::{KEEPER, administered, alternating, keeper, single};
use crate::outcomes::{Kind, login, words};

for_both!(
    an_admin_with_all_rights_changes_neither_itself_nor_the_servers_own,
    a_user_whose_password_nobody_knows_is_not_changed_by_whoever_names_it,
    an_admin_changes_only_the_users_that_its_secret_allows,
    an_admin_that_lacks_a_right_is_told_which,
    a_user_with_accounts_for_several_hosts_is_changed_by_nobody_but_itself,
    a_login_that_ends_as_the_anonymous_user_proves_nothing,
);

async fn an_admin_with_all_rights_changes_neither_itself_nor_the_servers_own<D: Database>(
    bed: Bed<D>,
) {
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

async fn a_user_whose_password_nobody_knows_is_not_changed_by_whoever_names_it<D: Database>(
    bed: Bed<D>,
) {
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

async fn an_admin_changes_only_the_users_that_its_secret_allows<D: Database>(bed: Bed<D>) {
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

async fn an_admin_that_lacks_a_right_is_told_which<D: Database>(bed: Bed<D>) {
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

async fn a_user_with_accounts_for_several_hosts_is_changed_by_nobody_but_itself<D: Database>(
    bed: Bed<D>,
) {
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
    let other = "SELECT * FROM mysql.user WHERE User = 'orders' AND Host = '10.0.0.%'";
    let untouched = bed.execute(other).await;
    assert_eq!(set(&single(&server, current, pending)).await, Outcome::Done);
    assert_eq!(test(&server, pending).await, Outcome::Done);
    assert_eq!(bed.execute(other).await, untouched);
}

async fn a_login_that_ends_as_the_anonymous_user_proves_nothing<D: Database>(bed: Bed<D>) {
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
