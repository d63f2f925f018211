//! Users of databases: how many a secret goes round, who changes them, and whom that one may be used for.

use super::rotator::Login;
use crate::secrets::SecretValue;

/// What tells the second user of two from the first.
const SUFFIX: &str = "_clone";
/// The key that bounds what an admin may be used for.
const ALLOWED_USERS: &str = "allowedUsers";
/// Most bytes of its value.
const MAX_ALLOWED: usize = 16 * 1024;
/// Most bytes of a name in it: that of PostgreSQL.
const MAX_NAME: usize = 63;

/// How many users a secret goes round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// One, whose password is changed.
    Single,
    /// Two in turn, so that the one before works on.
    Alternating,
}

/// Who changes passwords of others.
#[derive(Clone, Copy)]
pub struct Admin<'a> {
    /// The login.
    pub login: Login<'a>,
    /// Whom it may be used for.
    pub allowed: &'a AllowedUsers,
}

/// The name without the suffix: the user that is the first of the two.
pub(super) fn base(user: &str) -> &str {
    match user.strip_suffix(SUFFIX) {
        Some(base) if !base.is_empty() => base,
        _ => user,
    }
}

/// The other one of two alternating users: with `_clone` at the end, or without it.
///
/// # Errors
/// The name would have more than `most` bytes.
pub(super) fn other(user: &str, most: usize) -> Result<String, String> {
    let base = base(user);
    if base != user {
        return Ok(base.to_owned());
    }
    let clone = format!("{user}{SUFFIX}");
    if clone.len() > most {
        return Err(format!(
            "user `{user}` is too long for alternating users: with `{SUFFIX}` it has more than {most} bytes"
        ));
    }
    Ok(clone)
}

/// The users that an admin may be used for, as the key `allowedUsers` of the admin's secret names them: separated by
/// commas, each a name, or the beginning of names with `*` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedUsers(Option<Vec<String>>);

impl AllowedUsers {
    /// Every user: what there is without the key.
    pub const EVERY: Self = Self(None);

    /// Reads the key `allowedUsers`.
    ///
    /// # Errors
    /// Names the key, and what it has to be.
    pub fn from_value(value: &SecretValue) -> Result<Self, String> {
        let Some(text) = value.get(ALLOWED_USERS) else {
            return Ok(Self::EVERY);
        };
        let text = std::str::from_utf8(text).ok();
        let entries: Vec<_> = text
            .filter(|text| text.len() <= MAX_ALLOWED)
            .into_iter()
            .flat_map(|text| text.split(','))
            .map(|entry| entry.trim().to_owned())
            .collect();
        // A star in the middle would be taken for a name, and allow less than it seems to.
        let valid = |entry: &String| {
            let name = entry.strip_suffix('*').unwrap_or(entry);
            !entry.is_empty() && name.len() <= MAX_NAME && !name.contains('*')
        };
        if entries.is_empty() || !entries.iter().all(valid) {
            return Err(format!(
                "key `{ALLOWED_USERS}` must be user names separated by commas, each of at most {MAX_NAME} bytes, with \
                 `*` only at the end of one, in {MAX_ALLOWED} bytes together"
            ));
        }
        Ok(Self(Some(entries)))
    }

    /// Whether the user may be changed.
    pub(super) fn allow(&self, user: &str) -> bool {
        let matches = |entry: &String| match entry.strip_suffix('*') {
            Some(beginning) => user.starts_with(beginning),
            None => user == entry,
        };
        match &self.0 {
            None => true,
            Some(entries) => entries.iter().any(matches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretBytes;

    fn allowed(text: &[u8]) -> Result<AllowedUsers, String> {
        let entry = (ALLOWED_USERS.to_owned(), SecretBytes::copy_of(text));
        AllowedUsers::from_value(&SecretValue::from_entries([entry]).unwrap())
    }

    #[test]
    fn allowed_users_are_names_or_beginnings_of_names() {
        let users = allowed(b"orders, app_* ,\"x\"").unwrap();
        for user in ["orders", "app_", "app_one", "\"x\""] {
            assert!(users.allow(user), "{user}");
        }
        for user in ["orders_clone", "order", "app", "", " orders", "Orders"] {
            assert!(!users.allow(user), "{user}");
        }
        assert!(allowed(b"*").unwrap().allow("anyone"));
        let none = AllowedUsers::from_value(&SecretValue::new()).unwrap();
        assert!(none.allow("anyone"));
    }

    #[test]
    fn a_list_of_allowed_users_that_says_nothing_clear_is_refused() {
        for text in [
            &b""[..],
            b"a,,b",
            b"a,",
            b"a*b",
            b"**",
            b"\xff",
            &[b'a'; MAX_NAME + 1],
        ] {
            let refused = allowed(text).unwrap_err();
            assert!(refused.contains(ALLOWED_USERS), "{refused}");
        }
    }
}
