//! Errands to a PostgreSQL server.

use futures::FutureExt;
use kube::ResourceExt;

use super::Errand;
use super::values::Values;
use crate::api::{DatabaseUsers, ManagedSecret};
use crate::rotation::postgres::{self, Addresses, Admin, AllowedUsers, Change, Server, Users};
use crate::rotation::rotator::{Login, Outcome};
use crate::secrets::SecretValue;

/// All that an errand there follows from.
pub(super) struct InPostgres<'a> {
    pub(super) users: DatabaseUsers,
    /// The name of the administrator's secret, and its value.
    pub(super) admin: Option<(&'a str, &'a SecretValue)>,
    pub(super) secret: &'a ManagedSecret,
    pub(super) values: &'a Values,
}

/// The logins of an errand, and where they are used.
struct Setting<'a> {
    server: Server,
    allowed: AllowedUsers,
    admin: Option<Login<'a>>,
    current: Login<'a>,
    marker: String,
}

impl<'a> InPostgres<'a> {
    /// Runs an errand; what is missing of the values, in words.
    pub(super) async fn run(&self, errand: &Errand) -> Result<Outcome, String> {
        let setting = self.setting()?;
        // Boxed: all that a client of a database is made of would be a part of every controller's type.
        match errand {
            Errand::Carry(_) => self.carry(&setting).boxed().await,
            Errand::Revert(_) => self.revert(&setting).boxed().await,
            Errand::Check(_) => {
                let checked = postgres::check(&setting.server, setting.current);
                Ok(checked.boxed().await)
            }
        }
    }

    fn setting(&self) -> Result<Setting<'a>, String> {
        let own = self.secret.name_any();
        let (name, place) = self.admin.unwrap_or((&own, &self.values.current));
        let of = |problem: String| format!("ManagedSecret {name}: {problem}");
        same_host(&self.values.current, place)?;
        let admin = self.admin.map(|(_, value)| Login::from_value(value));
        Ok(Setting {
            server: Server::from_value(place, Addresses::NotLocal).map_err(of)?,
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
    async fn carry(&self, setting: &Setting<'_>) -> Result<Outcome, String> {
        let pending = self.pending()?;
        let wanted = match self.users {
            DatabaseUsers::Single => setting.current.user.to_owned(),
            DatabaseUsers::Alternating => postgres::alternate(setting.current.user)?,
        };
        if pending.user != wanted {
            return Ok(misfit(&setting.server, pending, &wanted).await);
        }
        let change = self.change(setting, setting.current, pending, self.previous());
        Ok(match postgres::set(&change).await {
            Outcome::Done => match postgres::test(&setting.server, pending).await {
                // What was set just now is not refused for ever: changes may take a while to be everywhere.
                Outcome::OwnershipConflict(why) | Outcome::Rejected(why) => Outcome::Retry(why),
                other => other,
            },
            other => other,
        })
    }

    /// Has the server take the login that was there before the pending one, if it does not.
    async fn revert(&self, setting: &Setting<'_>) -> Result<Outcome, String> {
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
        Ok(match postgres::set(&change).await {
            Outcome::ValueRefused(why) => Outcome::Rejected(format!(
                "the server does not take the value before again: {why}. Take the annotation away, and the rotation goes on"
            )),
            other => other,
        })
    }

    fn change<'s>(
        &self,
        setting: &'s Setting<'_>,
        current: Login<'s>,
        pending: Login<'s>,
        previous: Option<Login<'s>>,
    ) -> Change<'s> {
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
async fn misfit(server: &Server, pending: Login<'_>, wanted: &str) -> Outcome {
    let made_for = pending.user;
    let why = format!("the pending value was made for user {made_for}, and not for {wanted}");
    match postgres::test(server, pending).await {
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
