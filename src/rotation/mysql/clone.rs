//! The second one of two alternating users: how it is made, and what it may do.
//!
//! It is locked until it has all that the first one has, so that the pending login works when everything is done, and
//! not before. Whoever finds it locked, with the pending password, goes on where another one was killed.

use super::account::{Account, attribute, is_marker, marker_role};
use super::grants::Grant;
use super::password;
use super::session::{Family, Session};
use super::syntax::{account, name, written};
use crate::rotation::rotator::{Login, Outcome};

/// The first one, and what the second one is to have.
pub(super) struct Pair<'a> {
    first: Account,
    grants: Vec<Grant>,
    marker: &'a str,
    pending: Login<'a>,
}

impl<'a> Pair<'a> {
    /// Finds out what the second one is to have. Refuses what must not, or cannot, be given to another.
    pub(super) async fn of(
        session: &mut Session<'_>,
        first: Account,
        marker: &'a str,
        pending: Login<'a>,
    ) -> Result<Self, Outcome> {
        let grants = first.grants(session).await?;
        if let Some(refusal) = first.refusal(session, &grants).await? {
            return Err(refusal);
        }
        let grants = grants.into_iter().filter(|grant| !is_marker(grant));
        Ok(Self {
            grants: grants.collect(),
            first,
            marker,
            pending,
        })
    }

    /// The second one, in a statement: for the same host.
    fn written(&self) -> String {
        account(self.pending.user, &self.first.host)
    }
}

/// Makes the second one.
pub(super) async fn make(session: &mut Session<'_>, pair: &Pair<'_>) -> Result<(), Outcome> {
    let user = pair.pending.user;
    let identified = password::identified(session, pair.first.plugin()?, pair.pending).await?;
    let mut create = zeroize::Zeroizing::new(format!("CREATE USER {} ", pair.written()));
    create.push_str(&identified);
    for clause in [&pair.first.requirements, &pair.first.limits] {
        create.push(' ');
        create.push_str(&written(clause));
    }
    create.push_str(" ACCOUNT LOCK");
    let attribute = attribute(session, pair.marker);
    create.push_str(attribute.as_deref().unwrap_or_default());
    session.run(user, &create).await?;
    let made = Account::read(session, user, &pair.first.host).await?;
    complete(session, pair, &made).await
}

/// Gives the second one what it lacks, and the password.
pub(super) async fn renew(
    session: &mut Session<'_>,
    pair: &Pair<'_>,
    second: &Account,
) -> Result<(), Outcome> {
    if second.locked {
        return complete(session, pair, second).await;
    }
    grant(session, pair, second).await?;
    password::set(session, second, pair.pending, None).await
}

/// What is left to do for one that is locked.
async fn complete(
    session: &mut Session<'_>,
    pair: &Pair<'_>,
    second: &Account,
) -> Result<(), Outcome> {
    mark(session, pair, second).await?;
    grant(session, pair, second).await?;
    let roles = &pair.first.default_roles;
    if !roles.is_empty() {
        let alter = format!("ALTER USER {} {}", second.written(), written(roles));
        session.run(&second.user, &alter).await?;
    }
    password::set_and_unlock(session, second, pair.pending).await
}

/// Marks it. What MySQL can carry it has from its first moment.
async fn mark(session: &mut Session<'_>, pair: &Pair<'_>, second: &Account) -> Result<(), Outcome> {
    if session.family() != Family::MariaDb || pair.marker.is_empty() {
        return Ok(());
    }
    let role = marker_role(pair.marker);
    let create = format!("CREATE ROLE IF NOT EXISTS {}", name(&role));
    session.run(&second.user, &create).await?;
    let grant = format!("GRANT {} TO {}", name(&role), second.written());
    let marked = session.run(&second.user, &grant).await;
    marked.map_err(|outcome| match outcome {
        Outcome::Rejected(_) => Outcome::Rejected(format!(
            "role `{role}`, which marks user `{}`, is another admin's: drop the role, or grant it to this admin WITH ADMIN \
             OPTION",
            second.user
        )),
        other => other,
    })
}

/// Gives it what the first one has and it has not. What it has besides stays.
async fn grant(
    session: &mut Session<'_>,
    pair: &Pair<'_>,
    second: &Account,
) -> Result<(), Outcome> {
    let has = second.grants(session).await?;
    let to = second.written();
    let missing = pair.grants.iter().filter_map(|grant| grant.without(&has));
    let statements: Vec<_> = missing.filter_map(|grant| grant.statement(&to)).collect();
    for statement in statements {
        session.run(&second.user, &statement).await?;
    }
    Ok(())
}
