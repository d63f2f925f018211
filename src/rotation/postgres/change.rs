//! The change itself: what is true already, who may do the rest, and the rest.
//!
//! Whoever is killed in the middle begins anew: a change is one transaction, and before it the server is asked which of
//! the stored passwords it takes.

use super::failure::Failure;
use super::names::{self, alternate};
use super::role::{Role, create_clone, set_password};
use super::server::Server;
use super::session::Session;
use crate::rotation::change::{Names, Way};
use crate::rotation::rotator::{Login, Outcome};
use crate::rotation::users::{Admin, base};

/// A change on such a server. Its marker is a line of the role's comment.
pub type Change<'a> = crate::rotation::change::Change<'a, Server>;

const NAMES: Names = Names {
    noun: "role",
    check: names::check,
    alternate,
};

/// Whether a login works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Works,
    Refused,
}

/// Makes the pending login work, or finds that it does.
///
/// May be killed at any point and called again. Changes nothing unless it answers [`Outcome::Done`] or
/// [`Outcome::Retry`]; with the latter a change may have been made whose answer was lost.
pub async fn set(change: &Change<'_>) -> Outcome {
    match attempt(change).await {
        Ok(()) => Outcome::Done,
        Err(outcome) => outcome,
    }
}

/// Whether the login works: it lets in, and runs a statement.
pub async fn test(server: &Server, login: Login<'_>) -> Outcome {
    match logs_in(server, login).await {
        Ok(()) => Outcome::Done,
        Err(failure) => failure.required(server, login.user),
    }
}

/// Whether the stored login still works. [`Outcome::OwnershipConflict`] says that somebody else changed the password.
pub async fn check(server: &Server, current: Login<'_>) -> Outcome {
    test(server, current).await
}

async fn attempt(change: &Change<'_>) -> Result<(), Outcome> {
    let way = change.way(NAMES)?;
    if standing(change.server, change.pending).await? == Standing::Works {
        return Ok(());
    }
    match way {
        Way::ByItself => by_itself(change).await,
        Way::ByAdmin(admin) => by_admin(change, admin).await,
        Way::TheOther(admin) => the_other(change, admin).await,
    }
}

/// One user, with its own right to change its password.
async fn by_itself(change: &Change<'_>) -> Result<(), Outcome> {
    let name = change.pending.user;
    if standing(change.server, change.current).await? == Standing::Refused {
        return Err(change.somebody_else(before_works(change).await? == Standing::Works));
    }
    let session = Session::open(change.server, change.current).await;
    let session = session.map_err(|failure| failure.required(change.server, name))?;
    let changed = async {
        // A role may be set to act as another one, which may not change this one's password.
        session.run(name, "SET ROLE NONE").await?;
        session.begin(name).await?;
        set_password(&session, name, change.pending.password).await?;
        session.run(name, "COMMIT").await
    }
    .await;
    session.close().await;
    changed
}

/// One user, by an admin.
async fn by_admin(change: &Change<'_>, admin: Admin<'_>) -> Result<(), Outcome> {
    let current = standing(change.server, change.current).await?;
    // Somebody who may write the secret, and names another's role in it, does not know its password.
    let unproven = match current {
        Standing::Works => None,
        Standing::Refused => {
            Some(change.somebody_else(before_works(change).await? == Standing::Works))
        }
    };
    let name = change.pending.user;
    let session = open_as_admin(change, admin).await?;
    let changed = async {
        session.begin(name).await?;
        let role = Role::find(&session, name).await?;
        let role = role.ok_or_else(|| absent(change, name))?;
        prove(&role, change, unproven)?;
        set_password(&session, name, change.pending.password).await?;
        session.run(name, "COMMIT").await
    }
    .await;
    session.close().await;
    changed
}

/// Two users: the one that is not in use is made, or gets the password.
async fn the_other(change: &Change<'_>, admin: Admin<'_>) -> Result<(), Outcome> {
    let (first, name) = (change.current.user, change.pending.user);
    // The admin lends its rights to whoever wrote the secret, so that one has to show that it knows the user.
    if standing(change.server, change.current).await? == Standing::Refused {
        return Err(change.somebody_else(false));
    }
    let unproven = match before_works(change).await? {
        Standing::Works => None,
        Standing::Refused => Some(Outcome::OwnershipConflict(format!(
            "role `{name}` of {} is there, does not log in with what is stored of it, and carries no comment \
             `{}`: it is somebody else's, or somebody else changed its password",
            change.server, change.marker
        ))),
    };
    let session = open_as_admin(change, admin).await?;
    let changed = async {
        session.begin(name).await?;
        match Role::find(&session, name).await? {
            Some(role) => {
                prove(&role, change, unproven)?;
                set_password(&session, name, change.pending.password).await?;
            }
            // The one that owns things is never made: with it the things are gone.
            None if base(name) == name => return Err(absent(change, name)),
            None => {
                let owner = Role::find(&session, first).await?;
                let owner = owner.ok_or_else(|| absent(change, first))?;
                owner.refusal(first).map_or(Ok(()), Err)?;
                let password = change.pending.password;
                create_clone(&session, name, (first, &owner), change.marker, password).await?;
            }
        }
        session.run(name, "COMMIT").await
    }
    .await;
    session.close().await;
    changed
}

/// Whether an admin may change the role: it is an ordinary one, and this secret's.
fn prove(role: &Role, change: &Change<'_>, unproven: Option<Outcome>) -> Result<(), Outcome> {
    if let Some(refusal) = role.refusal(change.pending.user) {
        return Err(refusal);
    }
    match unproven {
        Some(outcome) if !role.carries(change.marker) => Err(outcome),
        _ => Ok(()),
    }
}

async fn open_as_admin<'a>(change: &Change<'a>, admin: Admin<'_>) -> Result<Session<'a>, Outcome> {
    let session = Session::open(change.server, admin.login).await;
    session.map_err(|failure| failure.of_admin(change.server, admin.login.user))
}

async fn logs_in(server: &Server, login: Login<'_>) -> Result<(), Failure> {
    let session = Session::open(server, login).await?;
    let pinged = session.ping().await;
    session.close().await;
    pinged
}

async fn standing(server: &Server, login: Login<'_>) -> Result<Standing, Outcome> {
    match logs_in(server, login).await {
        Ok(()) => Ok(Standing::Works),
        Err(Failure::Password) => Ok(Standing::Refused),
        Err(other) => Err(other.required(server, login.user)),
    }
}

/// Whether what is stored of the pending user from before works.
async fn before_works(change: &Change<'_>) -> Result<Standing, Outcome> {
    match change.before() {
        Some(previous) => standing(change.server, previous).await,
        None => Ok(Standing::Refused),
    }
}

fn absent(change: &Change<'_>, name: &str) -> Outcome {
    Outcome::Rejected(format!("{} has no role `{name}`", change.server))
}
