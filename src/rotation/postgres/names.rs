//! Names of roles: which there may be, and which is the other one of two.

use crate::rotation::users;

/// Most bytes of a name of PostgreSQL (`NAMEDATALEN` less one). The server cuts longer ones without an error, so that
/// two of them could become one role.
const MAX_NAME: usize = 63;

/// Checks the name of a role that is to be changed.
pub(super) fn check(user: &str) -> Result<(), String> {
    if user.is_empty() || user.len() > MAX_NAME || user.contains(char::is_control) {
        return Err(format!(
            "a user of PostgreSQL must have 1 to {MAX_NAME} bytes and no control characters"
        ));
    }
    Ok(())
}

/// The other one of two alternating users: with `_clone` at the end, or without it.
///
/// # Errors
/// The name would be longer than PostgreSQL takes.
pub fn alternate(user: &str) -> Result<String, String> {
    check(user)?;
    users::other(user, MAX_NAME)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rotation::users::base;

    #[test]
    fn alternating_goes_to_the_clone_and_back() {
        assert_eq!(alternate("orders").unwrap(), "orders_clone");
        assert_eq!(alternate("orders_clone").unwrap(), "orders");
        assert_eq!(alternate("_clone").unwrap(), "_clone_clone");
        let longest = "a".repeat(MAX_NAME - "_clone".len());
        assert_eq!(alternate(&longest).unwrap().len(), MAX_NAME);
        assert!(alternate(&format!("{longest}a")).is_err());
        assert!(alternate("").is_err());
        assert!(alternate("a\nb").is_err());
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
