//! Names of users: which there may be, and which is the other one of two.

use crate::rotation::users;

/// Most bytes of a name. Servers refuse longer ones than they take, and cut none: MySQL those of more than 32 characters,
/// MariaDB those of more than 128.
const MAX_NAME: usize = 128;

/// Checks the name of a user that is to be changed.
pub(super) fn check(user: &str) -> Result<(), String> {
    if user.is_empty() || user.len() > MAX_NAME || user.contains(char::is_control) {
        return Err(format!(
            "a user of MySQL must have 1 to {MAX_NAME} bytes and no control characters"
        ));
    }
    // Servers do not see spaces at the end, so that two names could be of one account.
    if user.ends_with(' ') {
        return Err("a user of MySQL must not end with a space".to_owned());
    }
    Ok(())
}

/// The other one of two alternating users: with `_clone` at the end, or without it.
///
/// # Errors
/// The name would be longer than any server takes.
pub fn alternate(user: &str) -> Result<String, String> {
    check(user)?;
    users::other(user, MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternating_goes_to_the_clone_and_back() {
        assert_eq!(alternate("orders").unwrap(), "orders_clone");
        assert_eq!(alternate("orders_clone").unwrap(), "orders");
        let longest = "a".repeat(MAX_NAME - "_clone".len());
        assert_eq!(alternate(&longest).unwrap().len(), MAX_NAME);
        for refused in [&format!("{longest}a"), "", "a\nb", "a "] {
            assert!(alternate(refused).is_err(), "{refused}");
        }
    }
}
