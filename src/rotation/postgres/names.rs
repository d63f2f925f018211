//! Names of roles: which there may be, which is the other one of two, and which may be changed.

use crate::secrets::SecretValue;

/// Most bytes of a name of PostgreSQL (`NAMEDATALEN` less one). The server cuts longer ones without an error, so that
/// two of them could become one role.
const MAX_NAME: usize = 63;
/// What tells the second user of two from the first.
const SUFFIX: &str = "_clone";
/// The key that bounds what an admin may be used for.
const ALLOWED_USERS: &str = "allowedUsers";
/// Most bytes of its value.
const MAX_ALLOWED: usize = 16 * 1024;

/// Checks the name of a role that is to be changed.
pub(super) fn check(user: &str) -> Result<(), String> {
    if user.is_empty() || user.len() > MAX_NAME || user.contains(char::is_control) {
        return Err(format!(
            "a user of PostgreSQL must have 1 to {MAX_NAME} bytes and no control characters"
        ));
    }
    Ok(())
}

/// The name without the suffix: the user that owns things, and that the other one is a member of.
pub(super) fn base(user: &str) -> &str {
    match user.strip_suffix(SUFFIX) {
        Some(base) if !base.is_empty() => base,
        _ => user,
    }
}

/// The other one of two alternating users: with `_clone` at the end, or without it.
///
/// # Errors
/// The name would be longer than PostgreSQL takes.
pub fn alternate(user: &str) -> Result<String, String> {
    check(user)?;
    let base = base(user);
    if base != user {
        return Ok(base.to_owned());
    }
    let clone = format!("{user}{SUFFIX}");
    if clone.len() > MAX_NAME {
        return Err(format!(
            "user `{user}` is too long for alternating users: with `{SUFFIX}` it has more than {MAX_NAME} bytes"
        ));
    }
    Ok(clone)
}

/// The roles that an admin may be used for, as the key `allowedUsers` of the admin's secret names them: separated by
/// commas, each a role, or the beginning of roles with `*` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedUsers(Option<Vec<String>>);

impl AllowedUsers {
    /// Every role: what there is without the key.
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
                "key `{ALLOWED_USERS}` must be role names separated by commas, each of at most {MAX_NAME} bytes, with \
                 `*` only at the end of one, in {MAX_ALLOWED} bytes together"
            ));
        }
        Ok(Self(Some(entries)))
    }

    /// Whether the role may be changed.
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
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::SecretBytes;

    fn allowed(text: &[u8]) -> Result<AllowedUsers, String> {
        let entry = (ALLOWED_USERS.to_owned(), SecretBytes::copy_of(text));
        AllowedUsers::from_value(&SecretValue::from_entries([entry]).unwrap())
    }

    #[test]
    fn alternating_goes_to_the_clone_and_back() {
        assert_eq!(alternate("orders").unwrap(), "orders_clone");
        assert_eq!(alternate("orders_clone").unwrap(), "orders");
        assert_eq!(alternate("_clone").unwrap(), "_clone_clone");
        let longest = "a".repeat(MAX_NAME - SUFFIX.len());
        assert_eq!(alternate(&longest).unwrap().len(), MAX_NAME);
        assert!(alternate(&format!("{longest}a")).is_err());
        assert!(alternate("").is_err());
        assert!(alternate("a\nb").is_err());
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

    proptest! {
        #[test]
        fn two_steps_of_alternating_lead_back(user in "\\PC{1,40}") {
            if let Ok(other) = alternate(&user) {
                prop_assert_ne!(&other, &user);
                prop_assert!(other.len() <= MAX_NAME);
                prop_assert_eq!(base(&other), base(&user));
                prop_assert_eq!(alternate(&other).unwrap(), user);
            }
        }
    }
}
