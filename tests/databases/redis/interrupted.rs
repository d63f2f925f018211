//! Changes that are cut off at any point, and begun anew.

use keystead::rotation::redis::{Server, Users, retire, set, test};
use keystead::rotation::rotator::Outcome;
use keystead_cluster::RedisUsers;

use super::support::{Bed, Kind, administered, alternating, login, single, words};
use crate::proxy::Proxy;

/// Far more answers than any change waits for.
const ENOUGH: usize = 300;

#[tokio::test]
async fn a_change_that_loses_any_answer_is_completed_by_the_next_attempt() {
    for (kind, users, by_admin, keeping) in [
        ("alone", Users::Single, false, RedisUsers::File),
        ("by_admin", Users::Single, true, RedisUsers::Configuration),
        ("two", Users::Alternating, true, RedisUsers::File),
    ] {
        let mut bed = Bed::keeping(keeping).await;
        let mut whole = None;
        let mut made = Vec::new();
        for answers in 0..ENOUGH {
            let user = format!("{kind}_{answers}");
            bed.user(&user).await;
            if !by_admin {
                bed.independent(&user).await;
            }
            let clone = format!("{user}_clone");
            let current = login(&user, "pw-1");
            let pending = match users {
                Users::Single => login(&user, "pw-2"),
                Users::Alternating => login(&clone, "pw-2"),
            };
            let direct = bed.server();
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
            // Consumers never find a second user that lacks something, nor one user without a password that works.
            assert_eq!(test(&direct, current).await, Outcome::Done, "{user}");
            if test(&direct, pending).await == Outcome::Done {
                assert_eq!(
                    bed.rights(pending.user).await,
                    bed.rights(current.user).await
                );
            }
            assert_eq!(set(&change(&direct)).await, Outcome::Done, "{user}");
            for login in [current, pending] {
                assert_eq!(test(&direct, login).await, Outcome::Done, "{user}");
            }
            made.push(pending.user.to_owned());
            if !broke {
                whole = Some(answers);
                break;
            }
        }
        // TLS, a login, and the steps of the change.
        assert!(
            whole.is_some_and(|answers| answers > 7),
            "{kind}: {whole:?}"
        );
        bed.redis.kill().unwrap();
        bed.redis.start_again().await.unwrap();
        for user in made {
            assert_eq!(
                test(&bed.server(), login(&user, "pw-2")).await,
                Outcome::Done,
                "{user}"
            );
        }
    }
}

#[tokio::test]
async fn a_retirement_that_loses_any_answer_is_completed_by_the_next_attempt() {
    let bed = Bed::new().await;
    let direct = bed.server();
    for answers in 0..ENOUGH {
        let user = format!("stock_{answers}");
        bed.user(&user).await;
        bed.execute(&format!("ACL SETUSER {user} >pw-2")).await;
        let (before, now) = (login(&user, "pw-1"), login(&user, "pw-2"));
        let proxy = Proxy::new(bed.address(), answers).await;
        let through = Server {
            port: proxy.port(),
            ..bed.server()
        };
        let outcome = retire(&administered(&through, before, now)).await;
        let broke = proxy.broke();
        if outcome != Outcome::Done {
            words(outcome, Kind::Retry);
        }
        assert_eq!(test(&direct, now).await, Outcome::Done, "{user}");
        assert_eq!(
            retire(&administered(&direct, before, now)).await,
            Outcome::Done
        );
        words(test(&direct, before).await, Kind::OwnershipConflict);
        assert_eq!(test(&direct, now).await, Outcome::Done, "{user}");
        if !broke {
            return;
        }
    }
    panic!("it never ends");
}
