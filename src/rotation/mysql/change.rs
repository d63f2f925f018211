//! The change itself: what is true already, who may do the rest, and the rest.
//!
//! Whoever is killed in the middle begins anew. There are no transactions: each statement about accounts is one, and
//! what there is between any two of them is harmless (see the module).

use super::account::Account;
use super::clone::{self, Pair};
use super::failure::Failure;
use super::names::{self, alternate};
use super::password;
use super::server::Server;
use super::session::Session;
use crate::rotation::change::{Names, Way};
use crate::rotation::rotator::{Login, Outcome};
use crate::rotation::users::{Admin, Users, base};

/// A change on such a server. Its marker is put on the account as the module says.
pub type Change<'a> = crate::rotation::change::Change<'a, Server>;

const NAMES: Names = Names {
    noun: "user",
    check: names::check,
    alternate,
};

/// Whether a login works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Works,
    /// The account is locked. That is said before TLS is there, too, so that it proves nothing by itself.
    Locked,
    /// The password has expired. This proves nothing either.
    Expired,
    /// There is no such user, or one that has no password of ours. Anybody before TLS may make it so.
    OtherWay,
    Refused,
}

impl Standing {
    /// Whether something else than the password keeps the login out, as far as one can trust what comes before TLS. The
    /// server's verifier says then whether the password is right. Where the server refuses the login, it does not
    /// matter what the verifier says: one that is for other hosts is not tested from here, and so not changed.
    fn barred(self) -> bool {
        matches!(self, Self::Locked | Self::Expired)
    }
}

/// Makes the pending login work, or finds that it does.
///
/// May be killed at any point and called again. Unless it answers [`Outcome::Done`] or [`Outcome::Retry`], it changes no
/// password that worked before; with the latter a change may have been made whose answer was lost. The second one of
/// two users may be left locked, with some of its rights, until the next call completes it.
pub async fn set(change: &Change<'_>) -> Outcome {
    let mut attempted = attempt(change).await;
    // One that ends with a refused login may have been refused the right one (see `Session::open_surely`).
    if let Err(Outcome::OwnershipConflict(_)) = attempted {
        attempted = attempt(change).await;
    }
    attempted.err().unwrap_or(Outcome::Done)
}

/// Whether the login works: it lets in, as the user that it names, and runs a statement.
pub async fn test(server: &Server, login: Login<'_>) -> Outcome {
    works(server, login).await.err().unwrap_or(Outcome::Done)
}

/// Whether the stored login still works. [`Outcome::OwnershipConflict`] says that somebody else changed the password.
pub async fn check(server: &Server, current: Login<'_>) -> Outcome {
    test(server, current).await
}

/// Ends the password before, where a server has kept it beside the pending one of `change`: MySQL, for one user that an
/// admin changes. To be called when nobody uses it any more; everywhere else there is nothing to do, which is
/// [`Outcome::Done`]. May be called again.
pub async fn discard_old(change: &Change<'_>) -> Outcome {
    match (change.users, change.admin) {
        (Users::Single, Some(admin)) => {
            let discarded = discard(change, admin).await;
            discarded.err().unwrap_or(Outcome::Done)
        }
        _ => Outcome::Done,
    }
}

async fn attempt(change: &Change<'_>) -> Result<(), Outcome> {
    let way = change.way(NAMES)?;
    let pending = standing(change.server, change.pending).await?;
    if pending == Standing::Works {
        return Ok(());
    }
    match way {
        Way::ByItself => by_itself(change).await,
        Way::ByAdmin(admin) => by_admin(change, admin, pending).await,
        Way::TheOther(admin) => the_other(change, admin, pending).await,
    }
}

/// One user, with its own right to change its password.
async fn by_itself(change: &Change<'_>) -> Result<(), Outcome> {
    let name = change.pending.user;
    match standing(change.server, change.current).await? {
        Standing::Works | Standing::Locked | Standing::Expired => {}
        Standing::OtherWay => return Err(Failure::OtherWay.required(change.server, name)),
        Standing::Refused => {
            return Err(change.somebody_else(before(change).await? == Standing::Works));
        }
    }
    let session = Session::open_surely(change.server, change.current).await;
    let mut session = session.map_err(|failure| failure.required(change.server, name))?;
    let changed = async {
        session.begin(name).await?;
        let host = session.host().to_owned();
        let account = Account::read(&mut session, name, &host).await?;
        password::set_own(&mut session, &account, change.current, change.pending).await
    }
    .await;
    session.close().await;
    changed
}

/// One user, by an admin.
async fn by_admin(change: &Change<'_>, admin: Admin<'_>, pending: Standing) -> Result<(), Outcome> {
    // Somebody who may write the secret, and names another's account in it, does not know its password.
    let current = standing(change.server, change.current).await?;
    let unproven = match current {
        Standing::Works => None,
        Standing::OtherWay => Some(Failure::OtherWay.required(change.server, change.current.user)),
        _ => Some(change.somebody_else(before(change).await? == Standing::Works)),
    };
    let name = change.pending.user;
    let mut session = open_as_admin(change, admin).await?;
    let changed = async {
        session.begin(name).await?;
        let account = Account::find(&mut session, name).await?;
        let account = account.ok_or_else(|| absent(change, name))?;
        // Not of the one before: it is known that the current one replaced it.
        let known = (current.barred() && account.knows(change.current).await)
            || (pending.barred() && account.knows(change.pending).await);
        prove(&mut session, &account, change, unproven.filter(|_| !known)).await?;
        unlocked(change, &account)?;
        password::set(&mut session, &account, change.pending, Some(change.current)).await
    }
    .await;
    session.close().await;
    changed
}

/// Two users: the one that is not in use is made, or gets the password.
async fn the_other(
    change: &Change<'_>,
    admin: Admin<'_>,
    pending: Standing,
) -> Result<(), Outcome> {
    let (first, name) = (change.current.user, change.pending.user);
    // The admin lends its rights to whoever wrote the secret, so that one has to show that it knows the user.
    match standing(change.server, change.current).await? {
        Standing::Works => {}
        Standing::Refused => return Err(change.somebody_else(false)),
        Standing::Locked => return Err(Failure::Locked.required(change.server, first)),
        Standing::Expired => return Err(Failure::Expired.required(change.server, first)),
        Standing::OtherWay => return Err(Failure::OtherWay.required(change.server, first)),
    }
    let before = before(change).await?;
    let unproven = match before {
        Standing::Works => None,
        _ => Some(Outcome::OwnershipConflict(format!(
            "user `{name}` of {} is there, does not log in with what is stored of it, and is not marked as this secret's: \
             it is somebody else's, or somebody else changed its password",
            change.server
        ))),
    };
    let mut session = open_as_admin(change, admin).await?;
    let changed = async {
        session.begin(name).await?;
        let other = Account::find(&mut session, name).await?;
        if let Some(account) = &other {
            let known = match change.previous.filter(|_| before.barred()) {
                Some(previous) if account.knows(previous).await => true,
                _ => pending.barred() && account.knows(change.pending).await,
            };
            prove(&mut session, account, change, unproven.filter(|_| !known)).await?;
        }
        // The first one of the two is never made: with it, what it had is gone.
        if base(name) == name {
            let account = other.ok_or_else(|| absent(change, name))?;
            unlocked(change, &account)?;
            return password::set(&mut session, &account, change.pending, None).await;
        }
        let owner = Account::find(&mut session, first).await?;
        let owner = owner.ok_or_else(|| absent(change, first))?;
        let pair = Pair::of(&mut session, owner, change.marker, change.pending).await?;
        match other {
            None => clone::make(&mut session, &pair).await,
            // Another one's lock is not ours to open.
            Some(account) if account.locked && !account.knows(change.pending).await => {
                Err(locked_clone(change, name))
            }
            Some(account) => clone::renew(&mut session, &pair, &account).await,
        }
    }
    .await;
    session.close().await;
    changed
}

fn unlocked(change: &Change<'_>, account: &Account) -> Result<(), Outcome> {
    if account.locked {
        return Err(Failure::Locked.required(change.server, &account.user));
    }
    Ok(())
}

/// Whether an admin may change the account: it is an ordinary one, and this secret's.
async fn prove(
    session: &mut Session<'_>,
    account: &Account,
    change: &Change<'_>,
    unproven: Option<Outcome>,
) -> Result<(), Outcome> {
    let grants = account.grants(session).await?;
    if let Some(refusal) = account.refusal(session, &grants).await? {
        return Err(refusal);
    }
    match unproven {
        Some(outcome) if !account.carries(session, &grants, change.marker).await? => Err(outcome),
        _ => Ok(()),
    }
}

async fn discard(change: &Change<'_>, admin: Admin<'_>) -> Result<(), Outcome> {
    change.way(NAMES)?;
    let name = change.pending.user;
    // The one that stays has to work before the other one goes.
    works(change.server, change.pending).await?;
    let mut session = open_as_admin(change, admin).await?;
    let discarded = async {
        if !password::keeps_two(&session) {
            return Ok(());
        }
        session.begin(name).await?;
        let account = Account::find(&mut session, name).await?;
        let account = account.ok_or_else(|| absent(change, name))?;
        prove(&mut session, &account, change, None).await?;
        password::discard_old(&mut session, &account, change.pending).await
    }
    .await;
    session.close().await;
    discarded
}

async fn open_as_admin<'a>(change: &Change<'a>, admin: Admin<'_>) -> Result<Session<'a>, Outcome> {
    let session = Session::open_surely(change.server, admin.login).await;
    session.map_err(|failure| failure.of_admin(change.server, admin.login.user))
}

/// A login that has to work. The session asks who it is, which shows that the login is good for more than the login.
async fn works(server: &Server, login: Login<'_>) -> Result<(), Outcome> {
    let session = Session::open_surely(server, login).await;
    let session = session.map_err(|failure| failure.required(server, login.user))?;
    session.close().await;
    Ok(())
}

/// What becomes of a login that need not work. Its refusal may be wrong (see `Session::open_surely`).
async fn standing(server: &Server, login: Login<'_>) -> Result<Standing, Outcome> {
    match Session::open(server, login).await {
        Ok(session) => {
            session.close().await;
            Ok(Standing::Works)
        }
        Err(Failure::Password) => Ok(Standing::Refused),
        Err(Failure::Locked) => Ok(Standing::Locked),
        Err(Failure::Expired) => Ok(Standing::Expired),
        Err(Failure::OtherWay) => Ok(Standing::OtherWay),
        Err(other) => Err(other.required(server, login.user)),
    }
}

/// Whether what is stored of the pending user from before works.
async fn before(change: &Change<'_>) -> Result<Standing, Outcome> {
    match change.before() {
        Some(previous) => standing(change.server, previous).await,
        None => Ok(Standing::Refused),
    }
}

fn absent(change: &Change<'_>, name: &str) -> Outcome {
    Outcome::Rejected(format!("{} has no user `{name}`", change.server))
}

fn locked_clone(change: &Change<'_>, name: &str) -> Outcome {
    Outcome::Rejected(format!(
        "user `{name}` of {} is locked: unlock it (ACCOUNT UNLOCK) if that is not meant; if it was left over when it was \
         made for a version that is gone, drop it",
        change.server
    ))
}
