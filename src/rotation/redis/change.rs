//! The change itself: what is true already, who may do the rest, and the rest.
//!
//! Whoever is killed in the middle begins anew. A change of a user is one command; what may be missing after it is that
//! it was saved, which is done again whatever else is true.

use super::failure::Failure;
use super::names::{self, alternate};
use super::rights::Rules;
use super::server::Server;
use super::session::Session;
use super::store::{Moment, Store};
use super::user::{self, User};
use crate::rotation::change::{Names, Way};
use crate::rotation::rotator::{Login, Outcome};
use crate::rotation::users::{Admin, base};

/// A change on such a server. Its marker is not used: there is no place for it.
pub type Change<'a> = crate::rotation::change::Change<'a, Server>;

const NAMES: Names = Names {
    noun: "user",
    check: names::check,
    alternate,
};

/// Makes the pending login work, or finds that it does, and has the server keep it.
///
/// With one user the current login works on, until [`retire`] is called for the next version. May be killed at any point
/// and called again. Unless it answers [`Outcome::Done`] or [`Outcome::Retry`], it changes no user; with the latter a
/// change may have been made that is not saved yet, or whose answer was lost.
pub async fn set(change: &Change<'_>) -> Outcome {
    attempt(change).await.err().unwrap_or(Outcome::Done)
}

/// Whether the login works: it lets in, as the user that it names. A user who is let in with any password (`nopass`) is
/// not told from others here, but by [`set`].
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

/// Takes away the passwords that were before the pending one of `change`: its current and its previous one, as far as they
/// are the same user's and others than the pending one, which stays and must be there. To be called when nobody uses them
/// any more: when all consumers have the next value, or when a change was taken back. Passwords that somebody else has put
/// there stay. With two users there is nothing to do, which is [`Outcome::Done`]. May be called again.
pub async fn retire(change: &Change<'_>) -> Outcome {
    take_away(change).await.err().unwrap_or(Outcome::Done)
}

async fn attempt(change: &Change<'_>) -> Result<(), Outcome> {
    match change.way(NAMES)? {
        Way::ByItself => {
            let mut session = open_as_itself(change).await?;
            let changed = by_itself(change, &mut session).await;
            session.close().await;
            changed
        }
        Way::ByAdmin(admin) => {
            let mut session = open_as_admin(change, admin).await?;
            let changed = by_admin(change, &mut session).await;
            session.close().await;
            changed
        }
        Way::TheOther(admin) => {
            let mut session = open_as_admin(change, admin).await?;
            let changed = the_other(change, &mut session).await;
            session.close().await;
            changed
        }
    }
}

/// One user, with its own right to change users.
async fn by_itself(change: &Change<'_>, session: &mut Session<'_>) -> Result<(), Outcome> {
    let name = change.pending.user;
    let store = Store::find(session, name).await?;
    let user = present(change, session, name).await?;
    user.refuse_open()?;
    user.refuse_off()?;
    apply(session, store, name, &beside(change, &user)).await
}

/// One user, by an admin.
async fn by_admin(change: &Change<'_>, session: &mut Session<'_>) -> Result<(), Outcome> {
    let name = change.pending.user;
    not_itself(session, name)?;
    let store = Store::find(session, name).await?;
    let user = present(change, session, name).await?;
    user.refuse_mighty(session).await?;
    user.refuse_open()?;
    // Somebody who may write the secret, and names another's user in it, does not know its password.
    let proven = [Some(change.current), Some(change.pending), change.before()];
    if !proven.into_iter().flatten().any(|login| user.knows(login)) {
        return Err(change.somebody_else(false));
    }
    user.refuse_off()?;
    apply(session, store, name, &beside(change, &user)).await
}

/// Two users: the one that is not in use is made, or gets the password.
async fn the_other(change: &Change<'_>, session: &mut Session<'_>) -> Result<(), Outcome> {
    let (first, name) = (change.current.user, change.pending.user);
    not_itself(session, first)?;
    not_itself(session, name)?;
    let store = Store::find(session, name).await?;
    let owner = present(change, session, first).await?;
    // The admin lends its rights to whoever wrote the secret, so that one has to show that it knows the user.
    owner.refuse_mighty(session).await?;
    owner.refuse_open()?;
    if !owner.knows(change.current) {
        return Err(change.somebody_else(false));
    }
    owner.refuse_off()?;
    let other = User::find(session, name).await?;
    if let Some(other) = &other {
        other.refuse_mighty(session).await?;
        other.refuse_open()?;
        let mut proven = [Some(change.pending), change.before()]
            .into_iter()
            .flatten();
        if !proven.any(|login| other.knows(login)) {
            return Err(not_ours(change));
        }
        other.refuse_off()?;
    }
    let rules = match other {
        // The first one of the two is never made: with it, what it was allowed is gone. What others gave it stays.
        None if base(name) == name => return Err(absent(change, name)),
        Some(other) if base(name) == name => {
            let before = change.before();
            other.passwords(Some(change.pending), before.as_slice())
        }
        other => owner.copied(other.as_ref(), change.pending)?,
    };
    apply(session, store, name, &rules).await
}

/// The rules that put the pending password beside the current one, and end the one before that. Where the server does not
/// have the current one it was restored, and the one before is what consumers may use.
fn beside(change: &Change<'_>, user: &User) -> Rules {
    let before = change
        .before()
        .filter(|before| user.knows(change.current) && before.password != change.current.password);
    user.passwords(Some(change.pending), before.as_slice())
}

/// Makes a change that may be none, and has the server keep it.
async fn apply(
    session: &mut Session<'_>,
    store: Store,
    name: &str,
    rules: &Rules,
) -> Result<(), Outcome> {
    if !rules.is_empty() {
        store.save(session, name, Moment::Before).await?;
        user::change(session, name, rules).await?;
    }
    // Also where nothing was to be changed: whoever changed it may have been killed before this.
    store.save(session, name, Moment::After).await
}

async fn take_away(change: &Change<'_>) -> Result<(), Outcome> {
    let (mut session, by_admin) = match change.way(NAMES)? {
        Way::TheOther(_) => return Ok(()),
        Way::ByAdmin(admin) => (open_as_admin(change, admin).await?, true),
        Way::ByItself => {
            // The one that stays has to work before the others go.
            let opened = Session::open(change.server, change.pending).await;
            let required = |failure: Failure| failure.required(change.server, change.pending.user);
            (opened.map_err(required)?, false)
        }
    };
    let name = change.pending.user;
    let taken = async {
        if by_admin {
            not_itself(&session, name)?;
        }
        let store = Store::find(&mut session, name).await?;
        let user = present(change, &mut session, name).await?;
        if by_admin {
            user.refuse_mighty(&mut session).await?;
        }
        user.refuse_open()?;
        if !user.knows(change.pending) {
            return Err(lost(change));
        }
        user.refuse_off()?;
        let gone = [Some(change.current), change.before()];
        let gone: Vec<_> = gone.into_iter().flatten().collect();
        let rules = user.passwords(Some(change.pending), &gone);
        apply(&mut session, store, name, &rules).await
    }
    .await;
    session.close().await;
    taken
}

/// Logs in as the user itself: by the current password, and else by the pending one, which is there already then.
async fn open_as_itself<'a>(change: &Change<'a>) -> Result<Session<'a>, Outcome> {
    let (server, user) = (change.server, change.current.user);
    for login in [change.current, change.pending] {
        match Session::open(server, login).await {
            Err(Failure::Password) => {}
            opened => return opened.map_err(|failure| failure.required(server, user)),
        }
    }
    let restored = match change.before() {
        Some(before) => match logs_in(server, before).await {
            Ok(()) => true,
            Err(Failure::Password) => false,
            Err(other) => return Err(other.required(server, user)),
        },
        None => false,
    };
    Err(change.somebody_else(restored))
}

async fn open_as_admin<'a>(change: &Change<'a>, admin: Admin<'_>) -> Result<Session<'a>, Outcome> {
    let session = Session::open(change.server, admin.login).await;
    session.map_err(|failure| failure.of_admin(change.server, admin.login.user))
}

async fn logs_in(server: &Server, login: Login<'_>) -> Result<(), Failure> {
    Session::open(server, login).await?.close().await;
    Ok(())
}

/// A user that has to be there.
async fn present(
    change: &Change<'_>,
    session: &mut Session<'_>,
    name: &str,
) -> Result<User, Outcome> {
    let user = User::find(session, name).await?;
    user.ok_or_else(|| absent(change, name))
}

fn not_itself(session: &Session<'_>, name: &str) -> Result<(), Outcome> {
    if session.is_own(name) {
        return Err(Outcome::Rejected(format!(
            "user `{name}` is not changed: it is the admin itself"
        )));
    }
    Ok(())
}

fn absent(change: &Change<'_>, name: &str) -> Outcome {
    Outcome::Rejected(format!("{} has no user `{name}`", change.server))
}

fn not_ours(change: &Change<'_>) -> Outcome {
    let name = change.pending.user;
    Outcome::OwnershipConflict(format!(
        "user `{name}` of {} is there, and what is stored of it is none of its passwords: it is somebody else's, somebody \
         else changed its password, or it was made for a version that is gone. If nobody uses it, delete it (ACL DELUSER)",
        change.server
    ))
}

fn lost(change: &Change<'_>) -> Outcome {
    let name = change.pending.user;
    Outcome::OwnershipConflict(format!(
        "the password of user `{name}` of {} that is to stay is none of its passwords: somebody else changed it",
        change.server
    ))
}
