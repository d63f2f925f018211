//! Changes that are cut off at any point, and begun anew.

use keystead::rotation::mysql::{Server, Users, set, test};
use keystead::rotation::rotator::Outcome;

use super::super::bed::{Bed, Database};
use crate::changes::{administered, alternating, single};
use crate::outcomes::{Kind, login, words};
use crate::proxy::Proxy;

for_both!(
    a_change_that_loses_any_answer_is_completed_by_the_next_attempt,
    a_second_user_that_was_left_half_made_for_a_version_that_is_gone_is_named,
);

/// Far more answers than any change waits for.
const ENOUGH: usize = 300;

async fn a_change_that_loses_any_answer_is_completed_by_the_next_attempt<D: Database>(bed: Bed<D>) {
    let direct = bed.server();
    for (kind, users, by_admin) in [
        ("alone", Users::Single, false),
        ("by_admin", Users::Single, true),
        ("two", Users::Alternating, true),
    ] {
        let mut whole = None;
        for answers in 0..ENOUGH {
            let user = format!("{kind}_{answers}");
            bed.user(&user).await;
            let clone = format!("{user}_clone");
            let rights = format!(
                "GRANT SELECT ON shop.* TO `{user}`@`%`; GRANT INSERT ON shop.stock TO `{user}`@`%`"
            );
            bed.execute(&rights).await;
            let current = login(&user, "pw-1");
            let pending = match users {
                Users::Single => login(&user, "pw-2"),
                Users::Alternating => login(&clone, "pw-2"),
            };
            let proxy = Proxy::new(bed.address(), answers).await;
            let through = Server {
                port: proxy.port(),
                ..bed.server()
            };
            let change = |server| match (users, by_admin) {
                (Users::Alternating, _) => alternating(server, current, pending, None),
                (Users::Single, true) => administered(server, current, pending),
                (Users::Single, false) => single(server, current, pending),
            };
            let outcome = set(&change(&through)).await;
            let broke = proxy.broke();
            // What the farewell loses, nobody waits for.
            if outcome != Outcome::Done {
                assert!(broke, "{outcome:?}");
                words(outcome, Kind::Retry);
            }
            if users == Users::Alternating {
                // Consumers never find a second user that lacks something.
                let read = "SELECT * FROM shop.stock; INSERT INTO shop.stock VALUES (1)";
                if test(&direct, pending).await == Outcome::Done {
                    bed.as_user(pending, read).await;
                }
            }
            assert_eq!(set(&change(&direct)).await, Outcome::Done, "{user}");
            assert_eq!(test(&direct, pending).await, Outcome::Done, "{user}");
            if users == Users::Alternating {
                assert_eq!(test(&direct, current).await, Outcome::Done, "{user}");
                let write = "SELECT * FROM shop.stock; INSERT INTO shop.stock VALUES (1)";
                bed.as_user(pending, write).await;
            }
            if !broke {
                whole = Some(answers);
                break;
            }
        }
        // Three logins at least, of several answers each, and the change.
        assert!(
            whole.is_some_and(|answers| answers > 12),
            "{kind}: {whole:?}"
        );
    }
}

async fn a_second_user_that_was_left_half_made_for_a_version_that_is_gone_is_named<D: Database>(
    bed: Bed<D>,
) {
    bed.user("orders").await;
    let server = bed.server();
    // As it is after the first statement about it.
    bed.execute("CREATE USER orders_clone@'%' IDENTIFIED BY 'pw-2' ACCOUNT LOCK")
        .await;
    let current = login("orders", "pw-1");
    let other = alternating(&server, current, login("orders_clone", "pw-3"), None);
    let told = words(set(&other).await, Kind::OwnershipConflict);
    assert!(told.contains("orders_clone"), "{told}");
    let same = alternating(&server, current, login("orders_clone", "pw-2"), None);
    assert_eq!(set(&same).await, Outcome::Done);
}
