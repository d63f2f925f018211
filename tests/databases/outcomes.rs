//! The words of the tests: logins, and what came of them.

use keystead::rotation::rotator::{Login, Outcome};

/// A login. Passwords begin with `pw-`, by which [`words`] finds them, unless a test is about others.
pub(crate) const fn login<'a>(user: &'a str, password: &'a str) -> Login<'a> {
    Login {
        user,
        password: password.as_bytes(),
    }
}

/// What kind of outcome there is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ValueRefused,
    OwnershipConflict,
    Rejected,
    Retry,
}

/// The words of an outcome, which has to be of that kind, and to name no password.
#[track_caller]
pub(crate) fn words(outcome: Outcome, expected: Kind) -> String {
    let shown = format!("{outcome:?}");
    let (kind, words) = match outcome {
        Outcome::Done => panic!("it is done, and was to be {expected:?}"),
        Outcome::ValueRefused(words) => (Kind::ValueRefused, words),
        Outcome::OwnershipConflict(words) => (Kind::OwnershipConflict, words),
        Outcome::Rejected(words) => (Kind::Rejected, words),
        Outcome::Retry(words) => (Kind::Retry, words),
    };
    assert_eq!(kind, expected, "{shown}");
    assert!(
        ["pw-", "SCRAM-SHA-256$", "IDENTIFIED BY", "$A$005$"]
            .iter()
            .all(|value| !words.contains(value)),
        "{shown}"
    );
    // Nor a digest or a verifier in hexadecimal digits.
    let digits = words.split(|character: char| !character.is_ascii_hexdigit());
    assert!(
        digits
            .max_by_key(|run| run.len())
            .is_none_or(|run| run.len() < 40),
        "{shown}"
    );
    words
}
