//! What the other side of a secret is told and asked, in the words of its strategy: `SetSecret`, `TestSecret`, and their undoing.

mod database;
mod values;

use kube::ResourceExt;

use self::database::{Database, InDatabase, MySql, Postgres};
use self::values::{Values, value};
use super::observe::{Observed, Truth};
use super::plan::users;
use crate::api::{DatabaseUsers, ManagedSecret};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::managed_secret::read_other;
use crate::controllers::uses::Reader;
use crate::rotation::rotator::{Login, Outcome};
use crate::secrets::{SecretValue, Substitute, Substitutes, VersionId};

/// The key of a login's user.
const USERNAME: &str = "username";

/// What is to be done there.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// The pending version is made to work, and tried.
    Carry(VersionId),
    /// What was before the pending version is made to work again.
    Revert(VersionId),
    /// The current version is tried, for that token or since it is time. Changes nothing.
    Check(Option<String>),
}

impl Errand {
    /// The pending version, where there is one.
    fn pending(&self) -> Option<&VersionId> {
        match self {
            Self::Carry(version) | Self::Revert(version) => Some(version),
            Self::Check(_) => None,
        }
    }
}

/// Runs an errand.
pub(super) async fn run(errand: &Errand, seen: &Observed, ctx: &Context) -> Result<Outcome, Error> {
    let strategy = &seen.schedule.spec.strategy;
    let Some(rotation) = strategy.database() else {
        // Nobody else is told of what is only made anew.
        return Ok(Outcome::Done);
    };
    let (Some(secret), Some(truth)) = (&seen.secret, &seen.truth) else {
        return Ok(Outcome::Retry("the secret is gone".to_owned()));
    };
    let values = match Values::read(secret, truth, errand.pending(), seen, ctx) {
        Ok(values) => values,
        Err(problem) => return Ok(Outcome::Retry(problem)),
    };
    let reference = rotation.admin_secret_ref.as_ref();
    let admin = match reference.map(|reference| reference.name.as_str()) {
        None => None,
        Some(name) => match administrator(secret, name, ctx).await? {
            Ok(value) => Some((name, value)),
            Err(problem) => return Ok(Outcome::Rejected(problem)),
        },
    };
    // Written down before any of it leaves.
    seen.uses.record(ctx).await?;
    ctx.check_leadership()?;
    let there = InDatabase {
        users: rotation.users,
        admin: admin.as_ref().map(|(name, value)| (*name, value)),
        secret,
        values: &values,
    };
    let told = match strategy.mysql {
        None => there.run::<Postgres>(errand).await,
        Some(_) => there.run::<MySql>(errand).await,
    };
    Ok(told.unwrap_or_else(Outcome::Rejected))
}

/// The login of an administrator, whose use is written down; what is in the way, in words.
async fn administrator(
    secret: &ManagedSecret,
    name: &str,
    ctx: &Context,
) -> Result<Result<SecretValue, String>, Error> {
    let namespace = secret.namespace().unwrap_or_default();
    let reader = Reader::rotation_of(secret);
    match read_other(&namespace, name, reader, ctx).await? {
        Ok((value, uses)) => {
            uses.record(ctx).await?;
            Ok(Ok(value))
        }
        Err(problem) => Ok(Err(format!("ManagedSecret {name}: {problem}"))),
    }
}

/// The user that the current version has, where two take turns.
pub(super) fn current_user(
    secret: &ManagedSecret,
    truth: &Truth,
    seen: &Observed,
    ctx: &Context,
) -> Option<Result<String, String>> {
    if users(&seen.schedule) != Some(DatabaseUsers::Alternating) {
        return None;
    }
    let version = truth.manifest.current()?;
    let value = value(secret, truth, version, seen, ctx);
    Some(value.and_then(|value| Ok(Login::from_value(&value)?.user.to_owned())))
}

/// What the next version has in the place of what the spec says: the other one of two users that take turns.
pub(super) fn substitutes(seen: &Observed) -> Result<Substitutes, String> {
    let (Some(user), Some(secret)) = (&seen.user, &seen.secret) else {
        return Ok(Substitutes::new());
    };
    let user = user.as_ref().map_err(Clone::clone)?;
    let alternate = match seen.schedule.spec.strategy.mysql {
        None => Postgres::alternate,
        Some(_) => MySql::alternate,
    };
    let said = secret.spec.literals.get(USERNAME);
    let substitute = Substitute {
        of: said.unwrap_or(user).clone(),
        is: alternate(user)?,
    };
    Ok(Substitutes::from([(USERNAME.to_owned(), substitute)]))
}
