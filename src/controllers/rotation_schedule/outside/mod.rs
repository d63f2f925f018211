//! What the other side of a secret is told and asked, in the words of its strategy: the four steps, their undoing, and a try.

mod database;
mod job;
mod own_code;
mod values;
mod webhook;

use self::database::{Database, MySql, Postgres, Redis};
use self::own_code::Code;
use self::values::value;
use super::observe::{Observed, Truth};
use crate::api::rotation_schedule::Strategy;
use crate::api::{DatabaseUsers, ManagedSecret, RotationStep};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::rotation::rotator::{Login, Outcome};
use crate::secrets::{Substitute, Substitutes, VersionId};

/// The key of a login's user.
const USERNAME: &str = "username";

/// What is to be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// The code that makes values is called for the pending version.
    Create(VersionId),
    /// The pending version is made to work, and tried.
    Carry(VersionId),
    /// What was before the pending version is made to work again.
    Revert(VersionId),
    /// Only that version, which is current, is needed any more.
    Retire(VersionId),
    /// The current version is tried, for that token or since it is time. Changes nothing.
    Check(Option<String>),
}

impl Errand {
    /// The step that it belongs to, of a rotation.
    pub(super) fn step(&self) -> Option<RotationStep> {
        match self {
            Self::Create(_) => Some(RotationStep::CreateSecret),
            Self::Carry(_) | Self::Revert(_) => Some(RotationStep::SetSecret),
            Self::Retire(_) => Some(RotationStep::FinishSecret),
            Self::Check(_) => None,
        }
    }

    /// The pending version, where there is one.
    fn pending(&self) -> Option<&VersionId> {
        match self {
            Self::Create(version) | Self::Carry(version) | Self::Revert(version) => Some(version),
            Self::Retire(_) | Self::Check(_) => None,
        }
    }

    /// Whether something is changed there, so that one has to know what was before.
    fn changes(&self) -> bool {
        !matches!(self, Self::Check(_))
    }
}

/// What an errand came to.
#[derive(Debug)]
pub(super) enum Answer {
    /// That.
    Came(Outcome),
    /// Nothing yet: it takes its time.
    Underway {
        /// What does, in words.
        what: String,
        /// The Job that does it.
        job: String,
    },
}

/// Runs an errand, or looks what became of one that takes its time.
pub(super) async fn run(errand: &Errand, seen: &Observed, ctx: &Context) -> Result<Answer, Error> {
    let Some(secret) = &seen.secret else {
        let gone = Outcome::Retry("the secret is gone".to_owned());
        return Ok(Answer::Came(gone));
    };
    let database = |rotation| database::At::new(rotation, secret, seen, ctx);
    let came = match seen.schedule.spec.strategy.chosen() {
        // Nobody else is told of what is only made anew.
        Strategy::Regenerate => Outcome::Done,
        Strategy::Postgres(rotation) => database(rotation).run::<Postgres>(errand).await?,
        Strategy::Mysql(rotation) => database(rotation).run::<MySql>(errand).await?,
        Strategy::Redis(rotation) => database(rotation).run::<Redis>(errand).await?,
        Strategy::Job(rotation) => {
            let job = job::Jobs::new(rotation, secret, seen, ctx);
            return own_code::run(errand, &Code::Job(job), seen).await;
        }
        Strategy::Webhook(rotation) => {
            let webhook = webhook::Receiver::new(rotation, secret, ctx);
            return own_code::run(errand, &Code::Webhook(webhook), seen).await;
        }
    };
    Ok(Answer::Came(came))
}

/// The user that the current version has, where two take turns.
pub(super) fn current_user(
    secret: &ManagedSecret,
    truth: &Truth,
    seen: &Observed,
    ctx: &Context,
) -> Option<Result<String, String>> {
    if seen.schedule.spec.strategy.chosen().users() != Some(DatabaseUsers::Alternating) {
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
    let alternate = match seen.schedule.spec.strategy.chosen() {
        Strategy::Mysql(_) => MySql::alternate,
        Strategy::Redis(_) => Redis::alternate,
        _ => Postgres::alternate,
    };
    let said = secret.spec.literals.get(USERNAME);
    let substitute = Substitute {
        of: said.unwrap_or(user).clone(),
        is: alternate(user)?,
    };
    Ok(Substitutes::from([(USERNAME.to_owned(), substitute)]))
}
