//! Accounts: what one is, whether it may be changed, how it shows its password, and whose it is.

use aws_lc_rs::digest::{SHA256, digest};

use super::grants::{self, Grant};
use super::session::{Family, Session};
use super::syntax::{self, Backslash, Token, tokens};
use super::verifier::Plugin;
use crate::hex::Hex;
use crate::rotation::rotator::{Login, Outcome};

/// Accounts that servers and their hosts make for themselves.
const RESERVED: [&str; 11] = [
    "root",
    "mysql",
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "mariadb.sys",
    "debian-sys-maint",
    "rdsadmin",
    "azure_superuser",
    "cloudsqladmin",
    "public",
];
/// Most roles that are followed from one account.
const MOST_ROLES: usize = 64;
/// The beginning of the names of roles that mark accounts of MariaDB.
const MARKER: &str = "keystead:";
/// The member of an account's attribute that marks one of MySQL.
const ATTRIBUTE: &str = "keystead";
/// Where what MySQL shows of an attribute begins.
const ATTRIBUTE_SHOWN: &str = " ATTRIBUTE '";
/// The first MySQL with attributes of users.
const ATTRIBUTES: (u16, u16, u16) = (8, 0, 21);

/// An account, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) host: String,
    /// The names of the ways in which it shows who it is.
    methods: Vec<String>,
    /// The verifier, if it has one way and one verifier.
    pub(super) stored: Option<String>,
    /// `REQUIRE`, with all that it says; nothing if it requires nothing.
    pub(super) requirements: Vec<Token>,
    /// `WITH`, with the limits of its use.
    pub(super) limits: Vec<Token>,
    /// The roles that a session begins with, where they are the account's own (MySQL).
    pub(super) default_roles: Vec<Token>,
    pub(super) locked: bool,
}

impl Account {
    /// Looks for the only account of that name.
    pub(super) async fn find(
        session: &mut Session<'_>,
        user: &str,
    ) -> Result<Option<Self>, Outcome> {
        let query = format!(
            "SELECT User, Host FROM mysql.user WHERE User = {}",
            syntax::text(user)
        );
        let rows = session.rows(user, &query).await?;
        // The comparison of the server does not see spaces at the end.
        let hosts: Vec<_> = rows
            .into_iter()
            .filter(|row| row.first().map(String::as_str) == Some(user))
            .filter_map(|row| row.into_iter().nth(1))
            .collect();
        let host = match hosts.as_slice() {
            [] => return Ok(None),
            [host] => host,
            several => {
                return Err(Outcome::Rejected(format!(
                    "there are several accounts of user `{user}`, for the hosts {}: which one is meant cannot be known, \
                     so that there must be one only",
                    several
                        .iter()
                        .map(|host| format!("`{host}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
        };
        if host.is_empty() && session.family() == Family::MariaDb {
            return Err(Outcome::Rejected(format!(
                "`{user}` is a role, and no user"
            )));
        }
        Self::read(session, user, host).await.map(Some)
    }

    /// Reads an account that is there.
    pub(super) async fn read(
        session: &mut Session<'_>,
        user: &str,
        host: &str,
    ) -> Result<Self, Outcome> {
        let query = format!("SHOW CREATE USER {}", syntax::account(user, host));
        let line = session.one(user, &query).await?;
        let backslash = match session.family() {
            Family::MySql => Backslash::Itself,
            Family::MariaDb => Backslash::Doubled,
        };
        Self::parse(user, host, &line, backslash).ok_or_else(|| {
            Outcome::Rejected(format!(
                "what the server shows of user `{user}` is not understood"
            ))
        })
    }

    /// Reads a line of `SHOW CREATE USER`.
    fn parse(user: &str, host: &str, line: &str, backslash: Backslash) -> Option<Self> {
        // It is the last of what MySQL shows, quotes in it are not doubled there, and it does not matter here.
        let before_attribute = line.rsplit_once(ATTRIBUTE_SHOWN);
        let line = before_attribute.map_or(line, |(before, _)| before);
        let tokens = tokens(line, backslash)?;
        let mut account = Self {
            user: user.to_owned(),
            host: host.to_owned(),
            methods: Vec::new(),
            stored: None,
            requirements: Vec::new(),
            limits: Vec::new(),
            default_roles: Vec::new(),
            locked: false,
        };
        // CREATE USER name @ host
        let (_, mut rest) = tokens.split_at_checked(5)?;
        while let Some(first) = rest.first() {
            let end = section_end(rest);
            let (section, after) = rest.split_at(end);
            match section {
                _ if first.is("IDENTIFIED") => account.identified(&section[1..])?,
                _ if first.is("REQUIRE") => {
                    account.requirements = required(section)?;
                }
                _ if first.is("WITH") => account.limits = limited(section)?,
                _ if first.is("DEFAULT") => account.default_roles = section.to_vec(),
                [_, lock] if first.is("ACCOUNT") => account.locked = lock.is("LOCK"),
                // Expiry and history do not matter here.
                _ => {}
            }
            rest = after;
        }
        if account.methods.is_empty() {
            account.methods.push(Plugin::Native.name().to_owned());
        }
        if account.methods.len() > 1 {
            account.stored = None;
        }
        Some(account)
    }

    /// What follows `IDENTIFIED`: `BY PASSWORD 'verifier'`, or ways by their names, with `OR` in between.
    fn identified(&mut self, section: &[Token]) -> Option<()> {
        if section.first()?.is("BY") {
            self.methods.push(Plugin::Native.name().to_owned());
        }
        let mut named = section;
        if section.first()?.is("VIA") || section.first()?.is("WITH") {
            named = &section[1..];
            loop {
                let (Token::Word(name) | Token::Name(name) | Token::Text(name)) = named.first()?
                else {
                    return None;
                };
                self.methods.push(name.clone());
                let Some(or) = named.iter().position(|token| token.is("OR")) else {
                    break;
                };
                named = &named[or + 1..];
            }
            named = &named[1..];
        }
        self.stored = named.iter().rev().find_map(|token| match token {
            Token::Text(stored) => Some(stored.clone()),
            Token::Word(word) => unhexed(word),
            _ => None,
        });
        Some(())
    }

    /// How it shows its password, if that is one of the ways that are known here and the only one.
    pub(super) fn plugin(&self) -> Result<Plugin, Outcome> {
        let refused = |why: String| {
            Err(Outcome::Rejected(format!(
                "user `{}` is not changed: {why}",
                self.user
            )))
        };
        match self.methods.as_slice() {
            [method] => match Plugin::named(method) {
                Some(plugin) => Ok(plugin),
                None => refused(format!(
                    "it logs in by `{}`, which has no password that could be set here",
                    method.escape_debug()
                )),
            },
            several => refused(format!(
                "it logs in in {} ways, of which a change would leave one",
                several.len()
            )),
        }
    }

    /// Whether the password of a login is the account's, as far as the server's verifier of it says. It needs no login,
    /// and so no trust in how one fails.
    pub(super) async fn knows(&self, login: Login<'_>) -> bool {
        match (self.stored.as_deref(), self.plugin()) {
            (Some(stored), Ok(plugin)) if login.user == self.user => {
                plugin.verifies(stored, login.password).await
            }
            _ => false,
        }
    }

    /// The account in a statement.
    pub(super) fn written(&self) -> String {
        syntax::account(&self.user, &self.host)
    }

    /// Its rights, without those that follow from its roles.
    pub(super) async fn grants(&self, session: &mut Session<'_>) -> Result<Vec<Grant>, Outcome> {
        let query = format!("SHOW GRANTS FOR {}", self.written());
        let rows = session.rows(&self.user, &query).await?;
        let lines = rows.into_iter().flatten();
        Ok(lines.map(|line| grants::parse(&line)).collect())
    }

    /// Why an admin must not change it. `grants` are its rights.
    pub(super) async fn refusal(
        &self,
        session: &mut Session<'_>,
        grants: &[Grant],
    ) -> Result<Option<Outcome>, Outcome> {
        let why = if RESERVED.contains(&self.user.to_ascii_lowercase().as_str()) {
            "is one of the server's own"
        } else if session.is_own(&self.user) {
            "is the admin itself"
        } else if self.mighty(session, grants).await? {
            "may change accounts or the server itself, or what it may do is not understood: it has rights on `*.*` or on \
             the schema `mysql` that lead there, itself or by a role"
        } else {
            return Ok(None);
        };
        Ok(Some(Outcome::Rejected(format!(
            "user `{}` is not changed: it {why}",
            self.user
        ))))
    }

    /// Whether it or one of its roles is mighty.
    async fn mighty(&self, session: &mut Session<'_>, grants: &[Grant]) -> Result<bool, Outcome> {
        let mut seen = Vec::new();
        let mut next = grants.to_vec();
        while !next.is_empty() {
            if next.iter().any(Grant::mighty) {
                return Ok(true);
            }
            let roles: Vec<_> = next
                .iter()
                .filter_map(|grant| match grant {
                    Grant::Roles { roles, .. } => Some(roles.clone()),
                    _ => None,
                })
                .flatten()
                .filter(|role| !seen.contains(role))
                .collect();
            next.clear();
            for role in roles {
                let query = format!("SHOW GRANTS FOR {}", role.written());
                let rows = session.rows(&self.user, &query).await?;
                next.extend(rows.into_iter().flatten().map(|line| grants::parse(&line)));
                seen.push(role);
                if seen.len() > MOST_ROLES {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether it carries the marker. Only who may change the account can give it that.
    pub(super) async fn carries(
        &self,
        session: &mut Session<'_>,
        grants: &[Grant],
        marker: &str,
    ) -> Result<bool, Outcome> {
        if marker.is_empty() {
            return Ok(false);
        }
        if session.family() == Family::MariaDb {
            let role = marker_role(marker);
            return Ok(grants.iter().any(|grant| is_role(grant, &role)));
        }
        if session.version() < ATTRIBUTES {
            return Ok(false);
        }
        let query = format!(
            "SELECT COUNT(*) FROM information_schema.USER_ATTRIBUTES WHERE USER = {} AND HOST = {} \
             AND JSON_UNQUOTE(JSON_EXTRACT(ATTRIBUTE, '$.{ATTRIBUTE}')) = {}",
            syntax::text(&self.user),
            syntax::text(&self.host),
            syntax::text(marker)
        );
        Ok(session.one(&self.user, &query).await? != "0")
    }
}

/// The clause that marks an account of MySQL when it is made; nothing where there are no attributes.
pub(super) fn attribute(session: &Session<'_>, marker: &str) -> Option<String> {
    let known = session.family() == Family::MySql && session.version() >= ATTRIBUTES;
    let attribute = serde_json::json!({ ATTRIBUTE: marker });
    known.then(|| format!(" ATTRIBUTE {}", syntax::text(&attribute.to_string())))
}

/// The role that marks accounts of MariaDB. It has no rights. Names of roles are short, so that it is named by a part
/// of a hash.
pub(super) fn marker_role(marker: &str) -> String {
    let hash = digest(&SHA256, marker.as_bytes());
    format!("{MARKER}{}", Hex(&hash.as_ref()[..16]))
}

/// Whether it is a role that marks an account, whosever it is.
pub(super) fn is_marker(grant: &Grant) -> bool {
    matches!(grant, Grant::Roles { roles, .. } if roles.iter().any(|role| role.name.starts_with(MARKER)))
}

fn is_role(grant: &Grant, name: &str) -> bool {
    matches!(grant, Grant::Roles { roles, .. } if roles.iter().any(|role| role.name == name))
}

/// A text of hexadecimal digits after `0x`: so it is shown where its bytes may be any.
fn unhexed(word: &str) -> Option<String> {
    let digits = word.strip_prefix("0x").filter(|digits| digits.is_ascii())?;
    let pairs = (0..digits.len()).step_by(2);
    let bytes = pairs.map(|place| u8::from_str_radix(digits.get(place..place + 2)?, 16).ok());
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

/// How many tokens belong to the section that begins the line.
fn section_end(tokens: &[Token]) -> usize {
    let begins = |place: usize| {
        let word = |word: &str| tokens[place].is(word);
        let before = &tokens[place - 1];
        match &tokens[place] {
            Token::Word(_) => {
                (word("REQUIRE") && !before.is("PASSWORD"))
                    || word("ACCOUNT")
                    || word("FAILED_LOGIN_ATTEMPTS")
                    || word("PASSWORD_LOCK_TIME")
                    || (word("IDENTIFIED") && !before.is("AND"))
                    || (word("WITH") && !before.is("IDENTIFIED"))
                    || (word("PASSWORD") && !before.is("BY"))
                    || (word("DEFAULT")
                        && tokens.get(place + 1).is_some_and(|next| next.is("ROLE")))
            }
            _ => false,
        }
    };
    (1..tokens.len())
        .find(|place| begins(*place))
        .unwrap_or(tokens.len())
}

/// `REQUIRE`, if all of it is known; nothing in it if it requires nothing.
fn required(section: &[Token]) -> Option<Vec<Token>> {
    let known = [
        "REQUIRE", "SSL", "X509", "CIPHER", "ISSUER", "SUBJECT", "AND",
    ];
    if matches!(section, [_, none] if none.is("NONE")) {
        return Some(Vec::new());
    }
    let valid = section.iter().all(|token| match token {
        Token::Word(word) => known.contains(&word.as_str()),
        Token::Text(_) => true,
        _ => false,
    });
    valid.then(|| section.to_vec())
}

/// `WITH`, if all of it is limits.
fn limited(section: &[Token]) -> Option<Vec<Token>> {
    let valid = section.iter().skip(1).all(|token| match token {
        Token::Word(word) => {
            word.starts_with("MAX_")
                || word
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
        }
        _ => false,
    });
    valid.then(|| section.to_vec())
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
