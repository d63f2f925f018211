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
