//! The words that all rotators share: what came of a step outside, and a login as a version of a secret has it.

use crate::secrets::SecretValue;

/// The key with the user name.
const USERNAME: &str = "username";
/// The key with the password.
const PASSWORD: &str = "password";
/// Most bytes of a user name, whatever the other side takes.
const MAX_USER: usize = 253;
/// Most bytes of a password: a generated one of 4096 characters fits.
const MAX_PASSWORD: usize = 16 * 1024;

/// What came of a step outside. Its words name users, hosts and codes, and never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is so: done now, or found to be so already.
    Done,
    /// The other side refuses the pending value for what it is (its password policy): drop it and make another.
    ValueRefused(String),
    /// What is stored does not log in, or somebody else changed it: nobody fights.
    OwnershipConflict(String),
    /// What is asked for is not allowed, or not possible as configured: asking again does not help before somebody
    /// changes something.
    Rejected(String),
    /// It may work later: unreachable, too slow, too many connections, in recovery.
    Retry(String),
}

/// One login, as a version of a secret has it. Borrowed, so that it leaves no copy of the password.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The password.
    pub password: &'a [u8],
}

impl<'a> Login<'a> {
    /// Reads the keys `username` and `password`.
    ///
    /// # Errors
    /// Names the key, and what it has to be.
    pub fn from_value(value: &'a SecretValue) -> Result<Self, String> {
        let user = value.get(USERNAME).unwrap_or_default();
        let user = std::str::from_utf8(user).ok().filter(|user| {
            (1..=MAX_USER).contains(&user.len()) && !user.contains(char::is_control)
        });
        let user = user.ok_or(format!(
            "key `{USERNAME}` must be a text of 1 to {MAX_USER} bytes without control characters"
        ))?;
        let password = value.get(PASSWORD).unwrap_or_default();
        // A zero byte ends a password in the protocols of databases: half of it would be what counts.
        if !(1..=MAX_PASSWORD).contains(&password.len()) || password.contains(&0) {
            return Err(format!(
                "key `{PASSWORD}` must have 1 to {MAX_PASSWORD} bytes, none of them zero"
            ));
        }
        Ok(Self { user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretBytes;

    fn value(entries: &[(&str, &[u8])]) -> SecretValue {
        let entries = entries
            .iter()
            .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
        SecretValue::from_entries(entries).unwrap()
    }

    #[test]
    fn a_login_is_taken_as_it_is() {
        let value = value(&[("username", b" Or\"ders "), ("password", b" \xff p\n")]);
        let login = Login::from_value(&value).unwrap();
        assert_eq!(login.user, " Or\"ders ");
        assert_eq!(login.password, b" \xff p\n");
    }

    #[test]
    fn a_login_that_cannot_be_one_is_refused_by_the_name_of_the_key() {
        let long = vec![b'a'; MAX_PASSWORD + 1];
        for (entries, key) in [
            (&[("password", &b"x"[..])][..], "`username`"),
            (&[("username", b""), ("password", b"x")], "`username`"),
            (&[("username", b"a\n"), ("password", b"x")], "`username`"),
            (&[("username", b"\xff"), ("password", b"x")], "`username`"),
            (&[("username", &long), ("password", b"x")], "`username`"),
            (&[("username", b"a")], "`password`"),
            (&[("username", b"a"), ("password", b"x\0y")], "`password`"),
            (&[("username", b"a"), ("password", &long)], "`password`"),
        ] {
            let refused = Login::from_value(&value(entries)).err().unwrap();
            assert!(refused.contains(key), "{refused}");
        }
    }
}
