//! Passwords: how each server is told a new one.

use zeroize::Zeroizing;

use super::account::Account;
use super::session::{Family, Session};
use super::syntax::text;
use super::verifier::Plugin;
use crate::rotation::rotator::{Login, Outcome};

/// The first MySQL in which an account may have two passwords.
const TWO: (u16, u16, u16) = (8, 0, 14);
/// The first MySQL that can be shown the password before.
const REPLACE: (u16, u16, u16) = (8, 0, 13);

/// Gives an account a password, by an admin. Where the server can keep the one before beside it, and that is the one of
/// `keep`, it does so.
pub(super) async fn set(
    session: &mut Session<'_>,
    account: &Account,
    pending: Login<'_>,
    keep: Option<Login<'_>>,
) -> Result<(), Outcome> {
    let plugin = account.plugin()?;
    let identified = match keep {
        // Only the first of two passwords can be kept: keeping another one would end the second, and consumers with it.
        Some(current) if keeps_two(session) && account.knows(current).await => {
            let plain = text(words(pending)?);
            Zeroizing::new(format!(
                "IDENTIFIED WITH {} BY {plain} RETAIN CURRENT PASSWORD",
                text(plugin.name())
            ))
        }
        _ => identified(session, plugin, pending).await?,
    };
    alter(session, account, &identified).await
}

/// Gives an account a password and unlocks it, in one step.
pub(super) async fn set_and_unlock(
    session: &mut Session<'_>,
    account: &Account,
    pending: Login<'_>,
) -> Result<(), Outcome> {
    let identified = identified(session, account.plugin()?, pending).await?;
    let unlocked = Zeroizing::new(format!("{} ACCOUNT UNLOCK", *identified));
    alter(session, account, &unlocked).await
}

async fn alter(
    session: &mut Session<'_>,
    account: &Account,
    clause: &Zeroizing<String>,
) -> Result<(), Outcome> {
    let alter = Zeroizing::new(format!("ALTER USER {} {}", account.written(), **clause));
    session.run(&account.user, &alter).await
}

/// The clause that gives a password to an account that shows it in this way.
pub(super) async fn identified(
    session: &Session<'_>,
    plugin: Plugin,
    pending: Login<'_>,
) -> Result<Zeroizing<String>, Outcome> {
    let name = plugin.name();
    Ok(Zeroizing::new(match session.family() {
        Family::MySql => format!(
            "IDENTIFIED WITH {} AS {}",
            text(name),
            text(&verifier(session, plugin, pending).await?)
        ),
        // The policy wants to see it.
        Family::MariaDb if session.wants_passwords() => {
            format!(
                "IDENTIFIED VIA {name} USING PASSWORD({})",
                text(words(pending)?)
            )
        }
        Family::MariaDb => format!(
            "IDENTIFIED VIA {name} USING {}",
            text(&verifier(session, plugin, pending).await?)
        ),
    }))
}

/// Gives the user who is logged in a password.
pub(super) async fn set_own(
    session: &mut Session<'_>,
    account: &Account,
    current: Login<'_>,
    pending: Login<'_>,
) -> Result<(), Outcome> {
    let plugin = account.plugin()?;
    let statement = Zeroizing::new(match session.family() {
        // The only form that needs no right of an admin. The server leaves the value out of its logs.
        Family::MySql => {
            let replace = if session.version() >= REPLACE {
                format!(" REPLACE {}", text(words(current)?))
            } else {
                String::new()
            };
            format!(
                "ALTER USER USER() IDENTIFIED BY {}{replace}",
                text(words(pending)?)
            )
        }
        Family::MariaDb if session.wants_passwords() => {
            format!("SET PASSWORD = PASSWORD({})", text(words(pending)?))
        }
        Family::MariaDb => {
            let verifier = verifier(session, plugin, pending).await?;
            format!("SET PASSWORD = {}", text(&verifier))
        }
    });
    session.run(&account.user, &statement).await
}

/// Whether the server can keep the password before beside the new one.
pub(super) fn keeps_two(session: &Session<'_>) -> bool {
    session.family() == Family::MySql && session.version() >= TWO
}

/// Ends the second password of an account, unless the first one is not the one that is to stay.
pub(super) async fn discard_old(
    session: &mut Session<'_>,
    account: &Account,
    stays: Login<'_>,
) -> Result<(), Outcome> {
    if !account.knows(stays).await {
        return Err(Outcome::OwnershipConflict(format!(
            "the first password of user `{}` is not the one that is to stay: somebody else changed it",
            account.user
        )));
    }
    let discard = format!("ALTER USER {} DISCARD OLD PASSWORD", account.written());
    session.run(&account.user, &discard).await
}

async fn verifier(
    session: &Session<'_>,
    plugin: Plugin,
    login: Login<'_>,
) -> Result<Zeroizing<String>, Outcome> {
    let verifier = plugin.verifier(login.password, session.rounds()).await;
    verifier.ok_or_else(|| Outcome::Retry("the system gives no random bytes for a salt".to_owned()))
}

fn words(login: Login<'_>) -> Result<&str, Outcome> {
    std::str::from_utf8(login.password).map_err(|_| {
        Outcome::Rejected(format!(
            "the password of user `{}` must be a text",
            login.user
        ))
    })
}
