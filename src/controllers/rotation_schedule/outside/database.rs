//! Errands to the server of a database.

use std::future::ready;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;

use super::values::{Values, other};
use super::{Errand, Observed};
use crate::api::rotation_schedule::DatabaseRotation;
use crate::api::{DatabaseUsers, ManagedSecret};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::rotation::change::Change;
use crate::rotation::rotator::{Login, Outcome};
use crate::rotation::users::{Admin, AllowedUsers, Users};
use crate::rotation::{address::Addresses, mysql, postgres, redis};
use crate::secrets::SecretValue;

/// What differs from one kind of database to another. Futures are boxed: all that a client of a database is made of would be a part
/// of every controller's type.
pub(super) trait Database {
    /// Where a server is.
    type Server: Sync;

    /// Reads that.
    fn server(value: &SecretValue) -> Result<Self::Server, String>;

    /// The other one of two users that take turns.
    fn alternate(user: &str) -> Result<String, String>;

    /// Makes the pending login work, or finds that it does.
    fn set<'a>(change: &'a Change<'a, Self::Server>) -> BoxFuture<'a, Outcome>;

    /// Whether the login works.
    fn test<'a>(server: &'a Self::Server, login: Login<'a>) -> BoxFuture<'a, Outcome>;

    /// Ends what was kept for those who had the value before: the current one, which `change` names as the pending one, is all that
    /// is needed.
    fn retire<'a>(change: &'a Change<'a, Self::Server>) -> BoxFuture<'a, Outcome>;
}

/// PostgreSQL.
pub(super) struct Postgres;

/// MySQL and MariaDB.
pub(super) struct MySql;

/// Redis and Valkey.
pub(super) struct Redis;

macro_rules! database {
    ($name:ident, $module:ident, $retire:expr) => {
        impl Database for $name {
            type Server = $module::Server;

            fn server(value: &SecretValue) -> Result<Self::Server, String> {
                $module::server(value, Addresses::NotLocal)
            }

            fn alternate(user: &str) -> Result<String, String> {
                $module::alternate(user)
            }

            fn set<'a>(change: &'a Change<'a, Self::Server>) -> BoxFuture<'a, Outcome> {
                $module::set(change).boxed()
            }

            fn test<'a>(server: &'a Self::Server, login: Login<'a>) -> BoxFuture<'a, Outcome> {
                $module::test(server, login).boxed()
            }

            fn retire<'a>(change: &'a Change<'a, Self::Server>) -> BoxFuture<'a, Outcome> {
                $retire(change).boxed()
            }
        }
    };
}

// A user of PostgreSQL has one password: the one before went when the new one was set.
database!(Postgres, postgres, |_| ready(Outcome::Done));
database!(MySql, mysql, mysql::discard_old);
database!(Redis, redis, redis::retire);

/// Where an errand goes.
pub(super) struct At<'a> {
    rotation: &'a DatabaseRotation,
    secret: &'a ManagedSecret,
    seen: &'a Observed,
    ctx: &'a Context,
}

impl<'a> At<'a> {
    pub(super) fn new(
        rotation: &'a DatabaseRotation,
        secret: &'a ManagedSecret,
        seen: &'a Observed,
        ctx: &'a Context,
    ) -> Self {
        Self {
            rotation,
            secret,
            seen,
            ctx,
        }
    }

    /// Runs an errand there.
    pub(super) async fn run<D: Database>(&self, errand: &Errand) -> Result<Outcome, Error> {
        let Self {
            secret, seen, ctx, ..
        } = *self;
        let Some(truth) = &seen.truth else {
            return Ok(Outcome::Retry("the secret is gone".to_owned()));
        };
        let values = match Values::read(secret, truth, errand, seen, ctx) {
            Ok(values) => values,
            Err(problem) => return Ok(Outcome::Retry(problem)),
        };
        let reference = self.rotation.admin_secret_ref.as_ref();
        let admin = match reference.map(|reference| reference.name.as_str()) {
            None => None,
            Some(name) => match other(secret, name, ctx).await? {
                Ok(value) => Some((name, value)),
                Err(problem) => return Ok(Outcome::Rejected(problem)),
            },
        };
        // Written down before any of it leaves.
        seen.uses.record(ctx).await?;
        ctx.check_leadership()?;
        let there = InDatabase {
            users: self.rotation.users,
            admin: admin.as_ref().map(|(name, value)| (*name, value)),
            secret,
            values: &values,
        };
        let told = there.run::<D>(errand).await;
        Ok(told.unwrap_or_else(Outcome::Rejected))
    }
}

/// All that an errand there follows from.
struct InDatabase<'a> {
    users: DatabaseUsers,
    /// The name of the administrator's secret, and its value.
    admin: Option<(&'a str, &'a SecretValue)>,
    secret: &'a ManagedSecret,
    values: &'a Values,
}

/// The logins of an errand, and where they are used.
struct Setting<'a, S> {
    server: S,
    allowed: AllowedUsers,
    admin: Option<Login<'a>>,
    current: Login<'a>,
    marker: String,
}

impl<'a> InDatabase<'a> {
    /// Runs an errand; what is missing of the values, in words.
    async fn run<D: Database>(&self, errand: &Errand) -> Result<Outcome, String> {
        let setting = self.setting::<D>()?;
        match errand {
            // Its values are generated.
            Errand::Create(_) => Ok(Outcome::Done),
            Errand::Carry(_) => self.carry::<D>(&setting).await,
            Errand::Revert(_) => self.revert::<D>(&setting).await,
            Errand::Retire(_) => {
                let (current, previous) = (setting.current, self.previous());
                let change = self.change(&setting, current, current, previous);
                Ok(D::retire(&change).await)
            }
            Errand::Check(_) => Ok(D::test(&setting.server, setting.current).await),
        }
    }

    fn setting<D: Database>(&self) -> Result<Setting<'a, D::Server>, String> {
        let own = self.secret.name_any();
        let (name, place) = self.admin.unwrap_or((&own, &self.values.current));
        let of = |problem: String| format!("ManagedSecret {name}: {problem}");
        same_host(&self.values.current, place)?;
        let admin = self.admin.map(|(_, value)| Login::from_value(value));
        Ok(Setting {
            server: D::server(place).map_err(of)?,
            allowed: AllowedUsers::from_value(place).map_err(of)?,
            admin: admin.transpose().map_err(of)?,
            current: self.login(&self.values.current)?,
            marker: marker(self.secret),
        })
    }

    fn login<'v>(&self, value: &'v SecretValue) -> Result<Login<'v>, String> {
        let of = |problem| format!("ManagedSecret {}: {problem}", self.secret.name_any());
        Login::from_value(value).map_err(of)
    }

    fn pending(&self) -> Result<Login<'_>, String> {
        let pending = self.values.pending.as_ref();
        self.login(pending.ok_or("nothing is pending")?)
    }

    /// What is no login was none: then there is nothing that it could prove.
    fn previous(&self) -> Option<Login<'_>> {
        let previous = self.values.previous.as_ref();
        previous.and_then(|value| Login::from_value(value).ok())
    }

    /// Has the server take the pending login, and logs in with it.
    async fn carry<D: Database>(
        &self,
        setting: &Setting<'_, D::Server>,
    ) -> Result<Outcome, String> {
        let (server, pending) = (&setting.server, self.pending()?);
        let wanted = match self.users {
            DatabaseUsers::Single => setting.current.user.to_owned(),
            DatabaseUsers::Alternating => D::alternate(setting.current.user)?,
        };
        if pending.user != wanted {
            return Ok(misfit::<D>(server, pending, &wanted).await);
        }
        let change = self.change(setting, setting.current, pending, self.previous());
        Ok(match D::set(&change).await {
            Outcome::Done => match D::test(server, pending).await {
                // What was set just now is not refused for ever: changes may take a while to be everywhere.
                Outcome::OwnershipConflict(why) | Outcome::Rejected(why) => Outcome::Retry(why),
                other => other,
            },
            other => other,
        })
    }

    /// Has the server take the login that was there before the pending one, if it does not.
    async fn revert<D: Database>(
        &self,
        setting: &Setting<'_, D::Server>,
    ) -> Result<Outcome, String> {
        let (current, pending) = (setting.current, self.pending()?);
        let change = match self.users {
            // Whoever knows the pending password is the user, if the server has it.
            DatabaseUsers::Single => self.change(setting, pending, current, None),
            DatabaseUsers::Alternating => match self.previous() {
                Some(previous) if previous.user == pending.user => {
                    self.change(setting, current, previous, Some(pending))
                }
                // The other user was made for the pending value, and nobody uses it.
                Some(_) | None => return Ok(Outcome::Done),
            },
        };
        Ok(match D::set(&change).await {
            // Where the cancelled value works beside it, that ends.
            Outcome::Done => D::retire(&change).await,
            Outcome::ValueRefused(why) => Outcome::Rejected(format!(
                "the server does not take the value before again: {why}. Set it there, or change what the server refuses"
            )),
            other => other,
        })
    }

    fn change<'s, S>(
        &self,
        setting: &'s Setting<'_, S>,
        current: Login<'s>,
        pending: Login<'s>,
        previous: Option<Login<'s>>,
    ) -> Change<'s, S> {
        Change {
            server: &setting.server,
            users: match self.users {
                DatabaseUsers::Single => Users::Single,
                DatabaseUsers::Alternating => Users::Alternating,
            },
            admin: setting.admin.map(|login| Admin {
                login,
                allowed: &setting.allowed,
            }),
            current,
            pending,
            previous,
            marker: &setting.marker,
        }
    }
}

/// The secret was given another user since the pending value was made. That is dropped, unless the server has it already: then it is
/// the only one that logs in.
async fn misfit<D: Database>(server: &D::Server, pending: Login<'_>, wanted: &str) -> Outcome {
    let made_for = pending.user;
    let why = format!("the pending value was made for user {made_for}, and not for {wanted}");
    match D::test(server, pending).await {
        Outcome::Done => Outcome::Rejected(format!(
            "{why}, and the server has it: set the user of the secret back until the rotation has ended"
        )),
        Outcome::OwnershipConflict(_) => Outcome::ValueRefused(why),
        other => other,
    }
}

/// Where an administrator logs in is for the administrator's secret to say; a secret that says otherwise means another server.
fn same_host(current: &SecretValue, place: &SecretValue) -> Result<(), String> {
    for key in ["host", "port"] {
        if let (Some(own), Some(there)) = (current.get(key), place.get(key))
            && own != there
        {
            return Err(format!(
                "the secret and the administrator's say different things in key {key}; an administrator changes users only where \
                 his own secret says"
            ));
        }
    }
    Ok(())
}

/// What marks the users that are this secret's.
fn marker(secret: &ManagedSecret) -> String {
    let namespace = secret.namespace().unwrap_or_default();
    format!("keystead.dev/secret: {namespace}/{}", secret.name_any())
}
