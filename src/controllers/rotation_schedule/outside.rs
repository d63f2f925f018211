//! `SetSecret` and `TestSecret`: what the other side of a secret is told, in the words of its strategy.

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;

use super::observe::{Observed, Truth};
use super::plan::users;
use crate::api::rotation_schedule::PostgresRotation;
use crate::api::{DatabaseUsers, ManagedSecret};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::managed_secret::{opened, read_other, user_of};
use crate::controllers::uses::{KeyAccess, Reader};
use crate::rotation::postgres::{self, Addresses, Admin, AllowedUsers, Change, Server, Users};
use crate::rotation::rotator::{Login, Outcome};
use crate::secrets::{SecretValue, Stage, Substitute, Substitutes, VersionId, VersionRecord};

/// The key of a login's user.
const USERNAME: &str = "username";

/// Tells the other side of the pending version, and tries it there.
pub(super) async fn carry(
    version: &VersionId,
    seen: &Observed,
    ctx: &Context,
) -> Result<Outcome, Error> {
    match &seen.schedule.spec.strategy.postgres {
        // Nobody else is told of what is only made anew.
        None => Ok(Outcome::Done),
        Some(rotation) => in_postgres(rotation, version, seen, ctx).await,
    }
}

async fn in_postgres(
    rotation: &PostgresRotation,
    version: &VersionId,
    seen: &Observed,
    ctx: &Context,
) -> Result<Outcome, Error> {
    let (Some(secret), Some(truth)) = (&seen.secret, &seen.truth) else {
        return Ok(Outcome::Retry("the secret is gone".to_owned()));
    };
    let values = match Values::read(secret, truth, version, seen, ctx) {
        Ok(values) => values,
        Err(problem) => return Ok(Outcome::Retry(problem)),
    };
    let admin = match &rotation.admin_secret_ref {
        None => None,
        Some(reference) => {
            let namespace = secret.namespace().unwrap_or_default();
            let reader = Reader::rotation_of(secret);
            let read = read_other(&namespace, &reference.name, reader, ctx).await?;
            match read {
                Ok((value, uses)) => {
                    uses.record(ctx).await?;
                    Some((reference.name.as_str(), value))
                }
                Err(problem) => {
                    let name = &reference.name;
                    return Ok(Outcome::Rejected(format!(
                        "ManagedSecret {name}: {problem}"
                    )));
                }
            }
        }
    };
    // Written down before any of it leaves.
    seen.uses.record(ctx).await?;
    ctx.check_leadership()?;
    let admin = admin.as_ref().map(|(name, value)| (*name, value));
    Ok(told(rotation.users, admin, secret, &values)
        .await
        .unwrap_or_else(Outcome::Rejected))
}

/// Tells the server, and logs in with the pending value; what is missing of the values, in words.
async fn told(
    users: DatabaseUsers,
    admin: Option<(&str, &SecretValue)>,
    secret: &ManagedSecret,
    values: &Values,
) -> Result<Outcome, String> {
    let own = secret.name_any();
    let of = |name: &str, problem: String| format!("ManagedSecret {name}: {problem}");
    let login = |value| Login::from_value(value).map_err(|problem| of(&own, problem));
    let (name, place) = admin.unwrap_or((&own, &values.current));
    let server = Server::from_value(place, Addresses::NotLocal);
    let server = server.map_err(|problem| of(name, problem))?;
    same_host(&values.current, place)?;
    let allowed = AllowedUsers::from_value(place).map_err(|problem| of(name, problem))?;
    let admin_login = admin
        .map(|(name, value)| Login::from_value(value).map_err(|problem| of(name, problem)))
        .transpose()?;
    let previous = values.previous.as_ref();
    let change = Change {
        server: &server,
        users: match users {
            DatabaseUsers::Single => Users::Single,
            DatabaseUsers::Alternating => Users::Alternating,
        },
        admin: admin_login.map(|login| Admin {
            login,
            allowed: &allowed,
        }),
        current: login(&values.current)?,
        pending: login(&values.pending)?,
        // What is no login was none: then there is nothing that it could prove.
        previous: previous.and_then(|value| Login::from_value(value).ok()),
        marker: &marker(secret),
    };
    let wanted = match users {
        DatabaseUsers::Single => change.current.user.to_owned(),
        DatabaseUsers::Alternating => postgres::alternate(change.current.user)?,
    };
    if change.pending.user != wanted {
        return Ok(misfit(&server, change.pending, &wanted).await);
    }
    // Boxed: all that a client of a database is made of would be a part of every controller's type.
    let set: BoxFuture<'_, _> = postgres::set(&change).boxed();
    Ok(match set.await {
        Outcome::Done => match postgres::test(&server, change.pending).boxed().await {
            // What was set just now is not refused for ever: changes may take a while to be everywhere.
            Outcome::OwnershipConflict(why) | Outcome::Rejected(why) => Outcome::Retry(why),
            other => other,
        },
        other => other,
    })
}

/// The secret was given another user since the pending value was made. That is dropped, unless the server has it already: then it is
/// the only one that logs in.
async fn misfit(server: &Server, pending: Login<'_>, wanted: &str) -> Outcome {
    let made_for = pending.user;
    let why = format!("the pending value was made for user {made_for}, and not for {wanted}");
    match postgres::test(server, pending).boxed().await {
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

/// The values of a rotation.
struct Values {
    current: SecretValue,
    pending: SecretValue,
    previous: Option<SecretValue>,
}

impl Values {
    fn read(
        secret: &ManagedSecret,
        truth: &Truth,
        pending: &VersionId,
        seen: &Observed,
        ctx: &Context,
    ) -> Result<Self, String> {
        let read = |version: Option<&VersionRecord>| {
            let version = version.ok_or("a version of the rotation is gone")?;
            value(secret, truth, version, seen, ctx)
        };
        let previous = truth.manifest.staged(&Stage::Previous);
        Ok(Self {
            current: read(truth.manifest.current())?,
            pending: read(truth.manifest.version(pending))?,
            previous: previous.map(|version| read(Some(version))).transpose()?,
        })
    }
}

fn value(
    secret: &ManagedSecret,
    truth: &Truth,
    version: &VersionRecord,
    seen: &Observed,
    ctx: &Context,
) -> Result<SecretValue, String> {
    let home = &truth.stored.claim.namespace_uid;
    let user = user_of(secret, Some(home), ctx.now());
    let access = KeyAccess::new(user, &seen.uses, ctx);
    opened::read_version(&truth.stored, version, &access).map_err(|(_, message)| message)
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
    let said = secret.spec.literals.get(USERNAME);
    let substitute = Substitute {
        of: said.unwrap_or(user).clone(),
        is: postgres::alternate(user)?,
    };
    Ok(Substitutes::from([(USERNAME.to_owned(), substitute)]))
}
