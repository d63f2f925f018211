//! Changes that are cut off at any point, and begun anew.

use keystead::rotation::postgres::{Server, Users, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::PostgresOptions;

use super::support::{Bed, Kind, administered, alternating, login, single, words};
use crate::proxy::Proxy;

/// Far more answers than any change waits for.
const ENOUGH: usize = 200;

#[tokio::test]
async fn a_change_that_loses_any_answer_is_completed_by_the_next_attempt() {
    let options = PostgresOptions {
        plain: true,
        ..PostgresOptions::default()
    };
    let bed = Bed::with(options).await;
    let direct = bed.plain();
    for (kind, users, by_admin) in [
        ("alone", Users::Single, false),
        ("by_admin", Users::Single, true),
        ("two", Users::Alternating, true),
    ] {
        let mut whole = None;
        for answers in 0..ENOUGH {
            let user = format!("{kind}_{answers}");
            bed.role(&user).await;
            let clone = format!("{user}_clone");
            let current = login(&user, "pw-1");
            let pending = match users {
                Users::Single => login(&user, "pw-2"),
                Users::Alternating => login(&clone, "pw-2"),
            };
            let proxy = Proxy::new(bed.address(), answers).await;
            let through = Server {
                port: proxy.port(),
                ..bed.plain()
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
            assert_eq!(set(&change(&direct)).await, Outcome::Done, "{user}");
            assert_eq!(test(&direct, pending).await, Outcome::Done, "{user}");
            if users == Users::Alternating {
                assert_eq!(test(&direct, current).await, Outcome::Done, "{user}");
            }
            if !broke {
                whole = Some(answers);
                break;
            }
        }
        // Three logins at least, of three answers each, and the change.
        assert!(
            whole.is_some_and(|answers| answers > 12),
            "{kind}: {whole:?}"
        );
    }
}
