//! Changes as the tests of all servers make them.

use keystead::rotation::change::Change;
use keystead::rotation::rotator::Login;
use keystead::rotation::users::{Admin, AllowedUsers, Users};

use super::outcomes::login;

/// What makes users ours.
pub(crate) const MARKER: &str = "keystead: shop/orders-db";
/// Who changes passwords of others, and has no more rights than that takes.
pub(crate) const KEEPER: Login<'static> = login("keeper", "pw-Admin-1");

/// A change of one user by itself.
pub(crate) fn single<'a, S>(
    server: &'a S,
    current: Login<'a>,
    pending: Login<'a>,
) -> Change<'a, S> {
    Change {
        server,
        users: Users::Single,
        admin: None,
        current,
        pending,
        previous: None,
        marker: MARKER,
    }
}

/// A change of one user by the admin.
pub(crate) fn administered<'a, S>(
    server: &'a S,
    current: Login<'a>,
    pending: Login<'a>,
) -> Change<'a, S> {
    Change {
        admin: Some(keeper()),
        ..single(server, current, pending)
    }
}

/// Changes of user `orders` by itself and by the admin, where the secret has `pw-1` as the value before, `pw-2` as the current one
/// and `pw-3` as the next. A server that still takes the first was restored from a backup.
pub(crate) fn after_a_restore<S>(server: &S) -> [Change<'_, S>; 2] {
    let previous = Some(login("orders", "pw-1"));
    let (current, pending) = (login("orders", "pw-2"), login("orders", "pw-3"));
    let changes = [
        single(server, current, pending),
        administered(server, current, pending),
    ];
    changes.map(|change| Change { previous, ..change })
}

/// A change of two users.
pub(crate) fn alternating<'a, S>(
    server: &'a S,
    current: Login<'a>,
    pending: Login<'a>,
    previous: Option<Login<'a>>,
) -> Change<'a, S> {
    Change {
        users: Users::Alternating,
        previous,
        ..administered(server, current, pending)
    }
}

/// The admin, for every user.
pub(crate) fn keeper() -> Admin<'static> {
    Admin {
        login: KEEPER,
        allowed: &AllowedUsers::EVERY,
    }
}
