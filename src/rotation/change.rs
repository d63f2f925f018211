//! What a change of a database's user follows from, and what can be decided of it without the server.

use std::fmt::Display;

use super::rotator::{Login, Outcome};
use super::users::{Admin, Users};

/// All that a change follows from, on a server of that kind.
pub struct Change<'a, S> {
    /// The server, of the current and the pending login alike.
    pub server: &'a S,
    /// How many users there are.
    pub users: Users,
    /// Who changes the password, where the user does not change its own.
    pub admin: Option<Admin<'a>>,
    /// What the consumers log in with.
    pub current: Login<'a>,
    /// What they shall log in with.
    pub pending: Login<'a>,
    /// What they logged in with before.
    pub previous: Option<Login<'a>>,
    /// What makes a user this secret's; how it is marked differs from server to server.
    pub marker: &'a str,
}

// Not derived, which would ask for a server that can be copied.
impl<S> Clone for Change<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Change<'_, S> {}

/// Who makes the pending login work.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// The user, who changes its own password.
    ByItself,
    /// An admin, for the one user.
    ByAdmin(Admin<'a>),
    /// An admin, for the one of two users that is not in use.
    TheOther(Admin<'a>),
}

/// What a kind of server thinks of names.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// What users are called there.
    pub(super) noun: &'static str,
    /// What is wrong with a name.
    pub(super) check: fn(&str) -> Result<(), String>,
    /// The other one of two users that take turns.
    pub(super) alternate: fn(&str) -> Result<String, String>,
}

impl<'a, S: Display> Change<'a, S> {
    /// Who makes the pending login work, if the change can be as it is said.
    pub(super) fn way(&self, names: Names) -> Result<Way<'a>, Outcome> {
        self.check(names).map_err(Outcome::Rejected)?;
        match (self.users, self.admin) {
            (Users::Single, None) => Ok(Way::ByItself),
            (Users::Single, Some(admin)) => Ok(Way::ByAdmin(admin)),
            (Users::Alternating, Some(admin)) => Ok(Way::TheOther(admin)),
            (Users::Alternating, None) => Err(Outcome::Rejected(
                "alternating users need an admin, who makes the second one and changes both"
                    .to_owned(),
            )),
        }
    }

    fn check(&self, names: Names) -> Result<(), String> {
        let (current, pending) = (self.current.user, self.pending.user);
        (names.check)(current)?;
        (names.check)(pending)?;
        let expected = match self.users {
            Users::Single => current.to_owned(),
            Users::Alternating => (names.alternate)(current)?,
        };
        if pending != expected {
            return Err(format!(
                "the pending user is `{pending}`, and after `{current}` it must be `{expected}`"
            ));
        }
        match self.admin {
            Some(admin) if !admin.allowed.allow(pending) => Err(format!(
                "{} `{pending}` is not changed: key `allowedUsers` of the admin's secret does not name it",
                names.noun
            )),
            _ => Ok(()),
        }
    }

    /// What is stored of the pending user from before, if that was this one.
    pub(super) fn before(&self) -> Option<Login<'a>> {
        self.previous
            .filter(|previous| previous.user == self.pending.user)
    }

    /// The current password is refused: who may have changed it.
    pub(super) fn somebody_else(&self, before_works: bool) -> Outcome {
        let (server, user) = (self.server, self.current.user);
        Outcome::OwnershipConflict(if before_works {
            format!(
                "{server} takes the previous password of user `{user}`, and not the current one: the database was restored, \
                 or somebody else changed it"
            )
        } else {
            format!(
                "{server} refuses the stored password of user `{user}`: somebody else changed it, or there is no such user"
            )
        })
    }
}
