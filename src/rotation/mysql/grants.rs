//! Rights: how a server lists those of an account, which of them make it mighty, and how another one is given them.

use std::collections::BTreeSet;

use super::syntax::{Backslash, Token, account, name, tokens};

/// What may be granted on everything (`*.*`) without making an account mighty: rights to look, and to use what
/// others made. All others lead to the server itself, to its files, or to what it stores of accounts.
const HARMLESS: [&str; 18] = [
    "USAGE",
    "SELECT",
    "SHOW DATABASES",
    "SHOW VIEW",
    "SHOW_ROUTINE",
    "PROCESS",
    "EXECUTE",
    "LOCK TABLES",
    "CREATE TEMPORARY TABLES",
    "RELOAD",
    "REPLICATION CLIENT",
    "BINLOG MONITOR",
    "SLAVE MONITOR",
    "REPLICA MONITOR",
    "APPLICATION_PASSWORD_ADMIN",
    "BACKUP_ADMIN",
    "FLUSH_STATUS",
    "FLUSH_TABLES",
];
/// The schema in which servers keep accounts and rights.
const SYSTEM: &str = "mysql";
/// The words before a name that is not a table's.
const KINDS: [&str; 6] = [
    "TABLE",
    "FUNCTION",
    "PROCEDURE",
    "PACKAGE",
    "PACKAGE BODY",
    "LIBRARY",
];

/// A name of a schema or of something in it, or everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Every,
    One(String),
}

impl Part {
    fn written(&self) -> String {
        match self {
            Self::Every => "*".to_owned(),
            Self::One(found) => name(found),
        }
    }
}

/// What rights are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    kind: Option<String>,
    schema: Part,
    item: Part,
}

/// A right, and the columns that it is bounded to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    words: String,
    columns: Vec<String>,
}

/// A role, which in MySQL has a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) host: Option<String>,
}

impl Role {
    pub(super) fn written(&self) -> String {
        match &self.host {
            Some(host) => account(&self.name, host),
            None => name(&self.name),
        }
    }
}

/// One line of a list of rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    /// Rights on something.
    Rights {
        rights: BTreeSet<Right>,
        on: Object,
        /// Whether they may be passed on.
        passed_on: bool,
    },
    /// Roles.
    Roles {
        roles: Vec<Role>,
        /// Whether they may be passed on.
        passed_on: bool,
    },
    /// The role that a session begins with.
    Default(Role),
    /// What is not known to be safe to give to another, or has no meaning for another.
    Other,
}

/// Reads a line of `SHOW GRANTS`. One that is not understood is [`Grant::Other`].
pub(super) fn parse(line: &str) -> Grant {
    let read = tokens(line, Backslash::Doubled).and_then(|tokens| {
        let mut reader = Reader(&tokens);
        reader.grant()
    });
    read.unwrap_or(Grant::Other)
}

impl Grant {
    /// The statement that gives it to an account; nothing where it says nothing.
    pub(super) fn statement(&self, to: &str) -> Option<String> {
        match self {
            Self::Rights {
                rights,
                on,
                passed_on,
            } => {
                let rights: Vec<_> = rights.iter().filter(|right| !right.is_usage()).collect();
                if rights.is_empty() && !passed_on {
                    return None;
                }
                let mut listed: Vec<_> = rights.into_iter().map(Right::written).collect();
                if listed.is_empty() {
                    listed.push("USAGE".to_owned());
                }
                let suffix = if *passed_on { " WITH GRANT OPTION" } else { "" };
                Some(format!(
                    "GRANT {} ON {} TO {to}{suffix}",
                    listed.join(", "),
                    on.written()
                ))
            }
            Self::Roles { roles, passed_on } => {
                let listed: Vec<_> = roles.iter().map(Role::written).collect();
                let suffix = if *passed_on { " WITH ADMIN OPTION" } else { "" };
                Some(format!("GRANT {} TO {to}{suffix}", listed.join(", ")))
            }
            Self::Default(role) => Some(format!("SET DEFAULT ROLE {} FOR {to}", role.written())),
            Self::Other => None,
        }
    }

    /// Whether it leads to the server itself: beyond what a schema holds, or into the one with the accounts.
    pub(super) fn mighty(&self) -> bool {
        match self {
            Self::Rights {
                rights,
                on,
                passed_on,
            } => match &on.schema {
                Part::Every => *passed_on || rights.iter().any(|right| !right.harmless()),
                Part::One(schema) => {
                    let pattern = on.item == Part::Every;
                    let system = if pattern {
                        matches(schema, SYSTEM)
                    } else {
                        schema.eq_ignore_ascii_case(SYSTEM)
                    };
                    system && (*passed_on || rights.iter().any(|right| !right.looks()))
                }
            },
            // Who may act as another may be anybody, and what is not understood may say that.
            Self::Other => true,
            Self::Roles { .. } | Self::Default(_) => false,
        }
    }

    /// What of it is missing among others; nothing if they have all of it.
    pub(super) fn without(&self, others: &[Self]) -> Option<Self> {
        let Self::Rights {
            rights,
            on,
            passed_on,
        } = self
        else {
            return (!others.contains(self)).then(|| self.clone());
        };
        let mut missing = rights.clone();
        for other in others {
            if let Self::Rights {
                rights: had,
                on: there,
                passed_on: had_passed_on,
            } = other
                && there == on
                && (*had_passed_on || !passed_on)
            {
                missing.retain(|right| !had.contains(right));
            }
        }
        (!missing.is_empty()).then(|| Self::Rights {
            rights: missing,
            on: on.clone(),
            passed_on: *passed_on,
        })
    }
}

impl Right {
    fn is_usage(&self) -> bool {
        self.words == "USAGE"
    }

    fn harmless(&self) -> bool {
        HARMLESS.contains(&self.words.as_str())
    }

    /// Whether it is one to look and no more.
    fn looks(&self) -> bool {
        matches!(self.words.as_str(), "USAGE" | "SELECT" | "SHOW VIEW")
    }

    fn written(&self) -> String {
        if self.columns.is_empty() {
            return self.words.clone();
        }
        let columns: Vec<_> = self.columns.iter().map(|column| name(column)).collect();
        format!("{} ({})", self.words, columns.join(", "))
    }
}

impl Object {
    fn written(&self) -> String {
        let kind = self.kind.as_ref().map(|kind| format!("{kind} "));
        let place = format!("{}.{}", self.schema.written(), self.item.written());
        kind.unwrap_or_default() + &place
    }
}

/// Whether a pattern of schema names (`%`, `_`, and `\` before one that is meant as itself) takes in a name.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = pattern.as_str().trim_start_matches('%');
            (0..=name.len())
                .any(|skipped| name.get(skipped..).is_some_and(|name| matches(rest, name)))
        }
        Some(first) => {
            let literal = match first {
                '\\' => pattern.next().unwrap_or('\\'),
                _ => first,
            };
            let mut found = name.chars();
            let any = first == '_';
            found
                .next()
                .is_some_and(|next| any || next.eq_ignore_ascii_case(&literal))
                && matches(pattern.as_str(), found.as_str())
        }
    }
}

/// Reads tokens from the front.
struct Reader<'a>(&'a [Token]);

impl Reader<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn skip_word(&mut self, word: &str) -> Option<()> {
        self.next()?.is(word).then_some(())
    }

    fn skip_sign(&mut self, sign: char) -> Option<()> {
        (*self.next()? == Token::Sign(sign)).then_some(())
    }

    fn at_sign(&self, sign: char) -> bool {
        self.0.first() == Some(&Token::Sign(sign))
    }

    fn at_word(&self, word: &str) -> bool {
        self.0.first().is_some_and(|token| token.is(word))
    }

    fn name(&mut self) -> Option<String> {
        match self.next()? {
            Token::Name(found) => Some(found.clone()),
            _ => None,
        }
    }

    fn grant(&mut self) -> Option<Grant> {
        if self.at_word("SET") {
            return self.default_role();
        }
        self.skip_word("GRANT")?;
        match self.0.first()? {
            Token::Name(_) => self.roles(),
            Token::Word(word) if word != "PROXY" => self.rights(),
            _ => None,
        }
    }

    fn default_role(&mut self) -> Option<Grant> {
        self.skip_word("SET")?;
        self.skip_word("DEFAULT")?;
        self.skip_word("ROLE")?;
        let role = self.role()?;
        self.skip_word("FOR")?;
        Some(Grant::Default(role))
    }

    fn role(&mut self) -> Option<Role> {
        let name = self.name()?;
        let mut host = None;
        if self.at_sign('@') {
            self.skip_sign('@')?;
            host = Some(self.name()?);
        }
        Some(Role { name, host })
    }

    fn roles(&mut self) -> Option<Grant> {
        let mut roles = vec![self.role()?];
        while self.at_sign(',') {
            self.skip_sign(',')?;
            roles.push(self.role()?);
        }
        self.skip_word("TO")?;
        let passed_on = self.ends_with("ADMIN");
        Some(Grant::Roles { roles, passed_on })
    }

    fn rights(&mut self) -> Option<Grant> {
        let mut rights = BTreeSet::new();
        loop {
            rights.insert(self.right()?);
            if !self.at_sign(',') {
                break;
            }
            self.skip_sign(',')?;
        }
        self.skip_word("ON")?;
        let on = self.object()?;
        self.skip_word("TO")?;
        let passed_on = self.ends_with("GRANT");
        Some(Grant::Rights {
            rights,
            on,
            passed_on,
        })
    }

    /// Words up to a sign or `ON`, and columns in brackets.
    fn right(&mut self) -> Option<Right> {
        let words = self.words("ON")?;
        let mut columns = Vec::new();
        if self.at_sign('(') {
            self.skip_sign('(')?;
            loop {
                columns.push(match self.next()? {
                    // Older servers show columns as they are.
                    Token::Name(column) | Token::Word(column) => column.clone(),
                    _ => return None,
                });
                match self.next()? {
                    Token::Sign(',') => {}
                    Token::Sign(')') => break,
                    _ => return None,
                }
            }
            columns.sort();
        }
        Some(Right { words, columns })
    }

    fn words(&mut self, end: &str) -> Option<String> {
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.0.first() {
            if word == end {
                break;
            }
            let plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            if !word.bytes().all(plain) {
                return None;
            }
            words.push(word.as_str());
            self.0 = &self.0[1..];
        }
        (!words.is_empty()).then(|| words.join(" "))
    }

    fn object(&mut self) -> Option<Object> {
        let mut kind = None;
        if let Some(Token::Word(_)) = self.0.first() {
            let words = self.words("TO")?;
            kind = Some(KINDS.contains(&words.as_str()).then_some(words)?);
        }
        let schema = self.part()?;
        self.skip_sign('.')?;
        let item = self.part()?;
        Some(Object { kind, schema, item })
    }

    fn part(&mut self) -> Option<Part> {
        match self.next()? {
            Token::Name(found) => Some(Part::One(found.clone())),
            Token::Sign('*') => Some(Part::Every),
            _ => None,
        }
    }

    /// Whether the rest says that it may be passed on. What else it says of the account is read elsewhere.
    fn ends_with(&self, word: &str) -> bool {
        let mut pairs = self.0.windows(2);
        pairs.any(|pair| pair[0].is(word) && pair[1].is("OPTION"))
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
