//! Logins that are refused once although they are right, as one in 256 is by `ed25519` with the client library that we have.

use keystead::rotation::mysql::{Change, Server, check, set, test};
use keystead::rotation::rotator::{Login, Outcome};
use tokio::net::{TcpListener, TcpStream};

use super::support::{Bed, Kind, administered, alternating, login, single, words};

/// A way to the server where passwords are right or wrong for one connection, counted from the first one.
struct Way {
    listener: TcpListener,
    server: Server,
}

impl Way {
    async fn to(bed: &Bed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            port: listener.local_addr().unwrap().port(),
            ..bed.server()
        };
        Self { listener, server }
    }

    /// What comes of `asked` when users have these passwords from these connections on.
    async fn outcome(
        &self,
        bed: &Bed,
        changes: &[(usize, &str, &str)],
        asked: impl Future<Output = Outcome>,
    ) -> Outcome {
        tokio::select! {
            outcome = asked => outcome,
            () = self.pass(bed, changes) => unreachable!("it goes on for ever"),
        }
    }

    async fn pass(&self, bed: &Bed, changes: &[(usize, &str, &str)]) {
        for connection in 0.. {
            let (mut client, _) = self.listener.accept().await.unwrap();
            for (_, user, password) in changes.iter().filter(|change| change.0 == connection) {
                bed.execute(&format!(
                    "SET PASSWORD FOR {user}@'%' = PASSWORD('{password}')"
                ))
                .await;
            }
            let mut server = TcpStream::connect(bed.address()).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    }
}

#[tokio::test]
async fn a_login_that_is_to_work_and_is_refused_once_works() {
    let bed = Bed::new().await;
    bed.user("orders").await;
    let way = Way::to(&bed).await;
    let orders = login("orders", "pw-1");
    let once = [(0, "orders", "pw-other"), (1, "orders", "pw-1")];
    let outcome = way.outcome(&bed, &once, test(&way.server, orders)).await;
    assert_eq!(outcome, Outcome::Done);
    let outcome = way.outcome(&bed, &once, check(&way.server, orders)).await;
    assert_eq!(outcome, Outcome::Done);
    let for_ever = [(0, "orders", "pw-other")];
    let outcome = way
        .outcome(&bed, &for_ever, check(&way.server, orders))
        .await;
    words(outcome, Kind::OwnershipConflict);
}

/// Makes a change of the current login to the pending one, or to the second user's.
type Make = for<'a> fn(&'a Server, [Login<'a>; 3]) -> Change<'a>;

#[tokio::test]
async fn a_change_goes_on_whichever_of_its_logins_was_refused_once() {
    let (current, pending) = (login("orders", "pw-1"), login("orders", "pw-2"));
    let clone = login("orders_clone", "pw-2");
    let alone: Make = |server, [current, pending, _]| single(server, current, pending);
    let by_admin: Make = |server, [current, pending, _]| administered(server, current, pending);
    let two: Make = |server, [current, _, clone]| alternating(server, current, clone, None);
    // The pending login is tried first, then the current one, then the admin's.
    let current_once = [(1, "orders", "pw-other"), (2, "orders", "pw-1")];
    let pending_once = [(0, "orders", "pw-other"), (2, "orders", "pw-2")];
    let admin_once = [(2, "keeper", "pw-other"), (3, "keeper", "pw-Admin-1")];
    let own_once = [(2, "orders", "pw-other"), (3, "orders", "pw-1")];
    for (make, refused) in [
        (alone, current_once),
        (alone, pending_once),
        (alone, own_once),
        (by_admin, current_once),
        (by_admin, pending_once),
        (by_admin, admin_once),
        (two, current_once),
        (two, admin_once),
    ] {
        let bed = Bed::new().await;
        bed.user("orders").await;
        let way = Way::to(&bed).await;
        let change = make(&way.server, [current, pending, clone]);
        let outcome = way.outcome(&bed, &refused, set(&change)).await;
        assert_eq!(outcome, Outcome::Done, "{refused:?}");
        assert_eq!(test(&bed.server(), change.pending).await, Outcome::Done);
    }
}
