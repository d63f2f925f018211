//! Names of users: which there may be, and which is the other one of two.

use crate::rotation::users;

/// Most bytes of a name. Redis has no limit.
const MAX_NAME: usize = 128;
/// Who every new connection is.
const DEFAULT: &str = "default";

/// Checks the name of a user that is to be changed.
pub(super) fn check(user: &str) -> Result<(), String> {
    // Redis takes no spaces. It takes quotes, but writes them to its configuration as they are, and does not start with
    // one that has a single one.
    let character = |character: char| {
        character.is_control() || character.is_whitespace() || matches!(character, '"' | '\'')
    };
    if user.is_empty() || user.len() > MAX_NAME || user.contains(character) {
        return Err(format!(
            "a user of Redis must have 1 to {MAX_NAME} bytes and no spaces, quotes or control characters"
        ));
    }
    if user == DEFAULT {
        return Err(format!(
            "user `{DEFAULT}` of Redis is not changed: every connection begins as that user, and its password is that of \
             `requirepass`, too. Make a user of another name for the consumers"
        ));
    }
    Ok(())
}

/// The other one of two alternating users: with `_clone` at the end, or without it.
///
/// # Errors
/// The name would be too long, or is of a user that is not changed.
pub fn alternate(user: &str) -> Result<String, String> {
    check(user)?;
    let other = users::other(user, MAX_NAME)?;
    check(&other)?;
    Ok(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alternating_goes_to_the_clone_and_back() {
        assert_eq!(alternate("orders").unwrap(), "orders_clone");
        assert_eq!(alternate("orders_clone").unwrap(), "orders");
        let longest = "a".repeat(MAX_NAME - "_clone".len());
        assert_eq!(alternate(&longest).unwrap().len(), MAX_NAME);
        for refused in [
            &format!("{longest}a"),
            "",
            "a b",
            "a\u{a0}b",
            "a\nb",
            "a\"",
            "it's",
            "default",
            "default_clone",
        ] {
            assert!(alternate(refused).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn two_steps_of_alternating_lead_back(user in "\\PC{1,40}") {
            if let Ok(other) = alternate(&user) {
                prop_assert_ne!(&other, &user);
                prop_assert_eq!(alternate(&other).unwrap(), user);
            }
        }
    }
}
