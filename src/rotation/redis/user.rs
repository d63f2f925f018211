//! Users: what one is, whose it is, whether it may be changed, and the rules that make another one like it.

use subtle::Choice;

use super::digest::Digest;
use super::protocol::Answer;
use super::rights::{Rights, Rules, fields};
use super::session::{Command, Session};
use crate::crypto::SecretBytes;
use crate::rotation::rotator::{Login, Outcome};

const GET: Command = &["ACL", "GETUSER"];
const SET: Command = &["ACL", "SETUSER"];
const TRY: Command = &["ACL", "DRYRUN"];

/// Commands of which each leads to power over users, the server, or data that no rule names: a user who may run one of
/// them is more than a consumer. Each with as many arguments as it needs to be judged.
const MIGHTY: [(&str, &[&str]); 14] = [
    ("ACL SETUSER", &["x"]),
    ("ACL DELUSER", &["x"]),
    ("ACL LOAD", &[]),
    ("CONFIG SET", &["x", "x"]),
    ("MODULE LOAD", &["x"]),
    ("MODULE LOADEX", &["x"]),
    ("DEBUG", &["x"]),
    ("REPLICAOF", &["x", "x"]),
    ("SLAVEOF", &["x", "x"]),
    ("FAILOVER", &[]),
    ("PSYNC", &["x", "x"]),
    ("SYNC", &[]),
    ("MONITOR", &[]),
    ("SHUTDOWN", &[]),
];

/// A user, as far as it matters here.
#[derive(Debug)]
pub(super) struct User {
    name: String,
    /// Whether it may log in at all.
    on: bool,
    /// Whether it is let in with whatever password.
    no_password: bool,
    /// Its flags but for these.
    flags: Rules,
    /// The digests of its passwords.
    passwords: Vec<SecretBytes>,
    /// Its keys, channels, commands and selectors, as rules that make them of a user that has none.
    rights: Rules,
    /// Whether all that the server shows of it is known here.
    whole: bool,
}

impl User {
    /// Looks for a user.
    pub(super) async fn find(
        session: &mut Session<'_>,
        name: &str,
    ) -> Result<Option<Self>, Outcome> {
        let answer = session.run(name, GET, &[name.as_bytes()]).await?;
        if answer == Answer::Nil {
            return Ok(None);
        }
        Self::parse(name, &answer).map(Some).ok_or_else(|| {
            Outcome::Rejected(format!(
                "what {} shows of user `{name}` is not understood",
                session.server()
            ))
        })
    }

    /// Reads what `ACL GETUSER` shows.
    fn parse(name: &str, answer: &Answer) -> Option<Self> {
        let mut user = Self {
            name: name.to_owned(),
            on: false,
            no_password: false,
            flags: Vec::new(),
            passwords: Vec::new(),
            rights: Vec::new(),
            whole: true,
        };
        let mut rights = Rights::default();
        for (field, shown) in fields(answer)? {
            match field {
                b"flags" => shown.texts()?.into_iter().for_each(|flag| user.flag(flag)),
                b"passwords" => {
                    let shown = shown.texts()?.into_iter();
                    user.passwords = shown.map(SecretBytes::copy_of).collect();
                }
                b"selectors" => {
                    let selectors = shown.array()?.iter();
                    for selector in selectors.map(Rights::selector) {
                        let (selector, whole) = selector?;
                        rights.selectors.push(selector);
                        user.whole &= whole;
                    }
                }
                _ => user.whole &= rights.take(field, shown)?,
            }
        }
        user.rights = rights.rules();
        Some(user)
    }

    fn flag(&mut self, flag: &[u8]) {
        match flag {
            b"on" => self.on = true,
            b"off" => self.on = false,
            b"nopass" => self.no_password = true,
            // It is what a user without it has, too, and is shown of one that was reset.
            b"sanitize-payload" => {}
            other => self.flags.push(SecretBytes::copy_of(other)),
        }
    }

    /// Whether the login is the user's, as far as the server's digests say. It needs no login, which where it fails is an
    /// alarm in the server's log.
    pub(super) fn knows(&self, login: Login<'_>) -> bool {
        login.user == self.name && self.has(&Digest::of(login.password))
    }

    fn has(&self, digest: &Digest) -> bool {
        let same = |found: Choice, stored: &SecretBytes| found | digest.is(stored.expose());
        self.passwords.iter().fold(Choice::from(0), same).into()
    }

    /// Whether the login is the user's, and the only one.
    fn knows_only(&self, login: Login<'_>) -> bool {
        self.passwords.len() == 1 && self.knows(login)
    }

    /// Refuses a user whose password proves nothing.
    pub(super) fn refuse_open(&self) -> Result<(), Outcome> {
        if self.no_password {
            return Err(Outcome::Rejected(format!(
                "user `{}` is let in with any password (nopass), so that none proves anything: give it one, which ends that",
                self.name
            )));
        }
        Ok(())
    }

    /// Refuses a user who is not let in.
    pub(super) fn refuse_off(&self) -> Result<(), Outcome> {
        if self.on {
            return Ok(());
        }
        Err(Outcome::Rejected(format!(
            "user `{}` is off, so that no password is of use: put it on (ACL SETUSER with the rule `on`) if that is not meant",
            self.name
        )))
    }

    /// Refuses a user that an admin must not change.
    pub(super) async fn refuse_mighty(&self, session: &mut Session<'_>) -> Result<(), Outcome> {
        for (command, arguments) in MIGHTY {
            if self.may(session, command, arguments).await? {
                return Err(Outcome::Rejected(format!(
                    "user `{}` is not changed: it may change users, the server or what it runs, or see all data, by \
                     {command}. Take that right away (`-@admin`), or let the user change itself, without an admin",
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// Whether it may run a command, as the server judges it. It is not run.
    async fn may(
        &self,
        session: &mut Session<'_>,
        command: &str,
        arguments: &[&str],
    ) -> Result<bool, Outcome> {
        let words = command.split(' ').chain(arguments.iter().copied());
        let asked = [self.name.as_str()].into_iter().chain(words);
        let asked: Vec<_> = asked.map(str::as_bytes).collect();
        match session.ask(&self.name, TRY, &asked).await? {
            // One that the server does not have, or has by another name, leads nowhere.
            Answer::Refusal(refusal) if refusal.says("command") && refusal.says("not found") => {
                Ok(false)
            }
            Answer::Refusal(refusal) => Err(session.refused(&self.name, TRY, &refusal)),
            // What else it says is why it may not.
            answer => Ok(answer.is_ok()),
        }
    }

    /// The rules that are missing for a password to be there, and those that take others away that are.
    pub(super) fn passwords(&self, there: Option<Login<'_>>, gone: &[Login<'_>]) -> Rules {
        let added = there.filter(|login| !self.knows(*login));
        let mut rules: Rules = Vec::new();
        rules.extend(added.map(|login| Digest::of(login.password).added()));
        for login in gone {
            let rule = Digest::of(login.password).removed();
            let stays = there.is_some_and(|there| there.password == login.password);
            // The server refuses to take away what is not there, the second time too.
            if self.knows(*login) && !stays && !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }

    /// The rules that make another user, or make it anew, like this one and with one password; none if it is so.
    pub(super) fn copied(&self, other: Option<&Self>, login: Login<'_>) -> Result<Rules, Outcome> {
        if !self.whole {
            return Err(Outcome::Rejected(format!(
                "user `{}` has a kind of rules that is not known here, so that there can be no second one like it",
                self.name
            )));
        }
        let like = |other: &Self| {
            other.on
                && !other.no_password
                && other.whole
                && other.flags == self.flags
                && other.rights == self.rights
                && other.knows_only(login)
        };
        if other.is_some_and(like) {
            return Ok(Vec::new());
        }
        let own = self.flags.iter().chain(&self.rights);
        let copied = own.map(|rule| SecretBytes::copy_of(rule.expose()));
        let first = [SecretBytes::copy_of(b"reset")];
        let last = [
            SecretBytes::copy_of(b"on"),
            Digest::of(login.password).added(),
        ];
        Ok(first.into_iter().chain(copied).chain(last).collect())
    }
}

/// Changes a user, or makes it: by one command, of which the server obeys all or nothing.
pub(super) async fn change(
    session: &mut Session<'_>,
    name: &str,
    rules: &Rules,
) -> Result<(), Outcome> {
    let rules = rules.iter().map(SecretBytes::expose);
    let arguments: Vec<_> = [name.as_bytes()].into_iter().chain(rules).collect();
    session.run(name, SET, &arguments).await.map(drop)
}

#[cfg(test)]
#[path = "user_tests.rs"]
mod tests;
