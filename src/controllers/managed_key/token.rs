//! Tokens: annotations of which each new value asks for something once.

use kube::ResourceExt;

use crate::api::ManagedKey;

/// How much of a token is told apart, in bytes: it is kept for as long as the key.
const MAX_TOKEN: usize = 256;

/// The token in that annotation, cut to what is told apart; none if it is empty.
pub(super) fn token(key: &ManagedKey, annotation: &str) -> Option<String> {
    let token = key.annotations().get(annotation)?;
    let end = (0..=token.len().min(MAX_TOKEN))
        .rev()
        .find(|&end| token.is_char_boundary(end))?;
    let token = &token[..end];
    (!token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::resource;
    use super::*;

    #[test]
    fn a_token_is_cut_between_characters() {
        let with = |value: &str| {
            let mut key = resource("object-1");
            key.annotations_mut().insert("a".into(), value.into());
            token(&key, "a")
        };
        assert_eq!(with("one").as_deref(), Some("one"));
        assert_eq!(with(""), None);
        let long = format!("{}é", "x".repeat(255));
        assert_eq!(with(&long).unwrap(), "x".repeat(255));
        assert_eq!(token(&resource("object-1"), "a"), None);
    }
}
