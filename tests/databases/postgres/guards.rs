//! Whom an admin does not change, whoever asks for it.

use keystead::crypto::SecretBytes;
use keystead::rotation::postgres::{Admin, AllowedUsers, Change, set, test};
use keystead::rotation::rotator::{Login, Outcome};
use keystead::secrets::SecretValue;

use super::support::{Bed, KEEPER, Kind, MARKER, administered, alternating, keeper, login, words};

#[tokio::test]
async fn a_mighty_role_is_not_changed_by_an_admin_even_with_password_and_marker() {
    let bed = Bed::new().await;
    bed.execute("CREATE ROLE staff CREATEROLE; CREATE ROLE between; GRANT staff TO between")
        .await;
    let (superuser, password) = bed.postgres.superuser();
    let server = bed.server();
    for attributes in [
        "SUPERUSER",
        "REPLICATION",
        "CREATEROLE",
        "BYPASSRLS",
        "IN ROLE between",
        "NOINHERIT IN ROLE staff",
        "IN ROLE pg_read_server_files",
        "IN ROLE keeper",
    ] {
        bed.execute(&format!(
            "DROP ROLE IF EXISTS boss; CREATE ROLE boss LOGIN PASSWORD 'pw-1' {attributes}"
        ))
        .await;
        bed.execute(&format!("COMMENT ON ROLE boss IS '{MARKER}'"))
            .await;
        let before = bed.roles().await;
        for admin in [KEEPER, login(superuser, password)] {
            // A superuser is no member of anybody, but then it is a superuser.
            if admin.user == superuser && attributes == "IN ROLE keeper" {
                continue;
            }
            let allowed = &AllowedUsers::EVERY;
            let admin = Some(Admin {
                login: admin,
                allowed,
            });
            let current = login("boss", "pw-1");
            for change in [
                Change {
                    admin,
                    ..administered(&server, current, login("boss", "pw-2"))
                },
                Change {
                    admin,
                    ..alternating(&server, current, login("boss_clone", "pw-2"), None)
                },
            ] {
                let told = words(set(&change).await, Kind::Rejected);
                assert!(told.contains("boss"), "{attributes}: {told}");
            }
        }
        assert_eq!(bed.roles().await, before, "{attributes}");
    }
}

#[tokio::test]
async fn the_admin_itself_is_not_changed() {
    let bed = Bed::new().await;
    let server = bed.server();
    let (superuser, password) = bed.postgres.superuser();
    let before = bed.roles().await;
    for admin in [KEEPER, login(superuser, password)] {
        let change = Change {
            admin: Some(Admin {
                login: admin,
                ..keeper()
            }),
            ..administered(&server, admin, login(admin.user, "pw-2"))
        };
        let told = words(set(&change).await, Kind::Rejected);
        assert!(told.contains("the admin itself"), "{told}");
    }
    assert_eq!(bed.roles().await, before);
}

#[tokio::test]
async fn a_role_whose_password_nobody_knows_is_not_changed_by_whoever_names_it() {
    let bed = Bed::new().await;
    bed.role("victim").await;
    bed.execute("COMMENT ON ROLE victim IS 'keystead: other/secret'")
        .await;
    let server = bed.server();
    let (guess, pending) = (login("victim", "pw-guess"), login("victim", "pw-2"));
    let before = bed.roles().await;
    // Nor does another role's password help.
    bed.role("mine").await;
    let before_with_mine = bed.roles().await;
    assert_ne!(before, before_with_mine);
    let change = Change {
        previous: Some(login("mine", "pw-1")),
        ..administered(&server, guess, pending)
    };
    words(set(&change).await, Kind::OwnershipConflict);
    assert_eq!(bed.roles().await, before_with_mine);
}

#[tokio::test]
async fn an_admin_changes_only_the_roles_that_its_secret_allows() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    bed.role("app_one").await;
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
    bed.role("orders").await;
    bed.role("clerk").await;
    let server = bed.server();
    let admin = Some(Admin {
        login: login("clerk", "pw-1"),
        ..keeper()
    });
    let current = login("orders", "pw-1");
    let before = bed.roles().await;
    for change in [
        administered(&server, current, login("orders", "pw-2")),
        alternating(&server, current, login("orders_clone", "pw-2"), None),
    ] {
        let told = words(set(&Change { admin, ..change }).await, Kind::Rejected);
        assert!(told.contains("CREATEROLE"), "{told}");
    }
    assert_eq!(bed.roles().await, before);

    let admin = Some(Admin {
        login: Login {
            password: b"pw-wrong",
            ..KEEPER
        },
        ..keeper()
    });
    let change = administered(&server, current, login("orders", "pw-2"));
    let told = words(set(&Change { admin, ..change }).await, Kind::Rejected);
    assert!(told.contains("admin `keeper`"), "{told}");
}

#[tokio::test]
async fn functions_that_somebody_put_before_the_servers_own_are_not_called() {
    let bed = Bed::new().await;
    bed.role("orders").await;
    // Whoever owns the database sets a path for everybody, and lies in wait for an admin.
    bed.execute("CREATE TABLE caught (what text); GRANT ALL ON caught TO PUBLIC")
        .await;
    for (name, arguments, result) in [
        ("set_config", "a text, b text, c boolean", "text"),
        ("current_setting", "a text", "text"),
        ("format", "a text, b text, c text", "text"),
        ("pg_has_role", "a oid, b name, c text", "boolean"),
        ("pg_has_role", "a oid, b oid, c text", "boolean"),
        ("shobj_description", "a oid, b name", "text"),
        ("pg_is_in_recovery", "", "boolean"),
    ] {
        let trap = format!(
            "CREATE FUNCTION public.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.caught VALUES ('{name}'); RETURN NULL; END $$"
        );
        bed.execute(&trap).await;
    }
    bed.execute("ALTER DATABASE postgres SET search_path = public, pg_catalog")
        .await;
    let server = bed.server();
    let orders = login("orders", "pw-1");
    for change in [
        alternating(&server, orders, login("orders_clone", "pw-2"), None),
        administered(&server, orders, login("orders", "pw-3")),
    ] {
        assert_eq!(set(&change).await, Outcome::Done);
    }
    assert_eq!(bed.execute("TABLE caught").await, "");
}
