//! Tokens: annotations of which each new value asks for something once.

use kube::ResourceExt;

/// How much of a token is told apart, in bytes: it is kept for as long as the truth.
const MAX_TOKEN: usize = 256;

/// The token in that annotation, cut to what is told apart; none if it is empty.
pub(super) fn token(object: &impl ResourceExt, annotation: &str) -> Option<String> {
    let token = object.annotations().get(annotation)?;
    let end = (0..=token.len().min(MAX_TOKEN))
        .rev()
        .find(|&end| token.is_char_boundary(end))?;
    let token = &token[..end];
    (!token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ManagedKey, ManagedKeySpec};

    fn resource() -> ManagedKey {
        ManagedKey::new("cards", ManagedKeySpec::default())
    }

    #[test]
    fn a_token_is_cut_between_characters() {
        let with = |value: &str| {
            let mut key = resource();
            key.annotations_mut().insert("a".into(), value.into());
            token(&key, "a")
        };
        assert_eq!(with("one").as_deref(), Some("one"));
        assert_eq!(with(""), None);
        let long = format!("{}é", "x".repeat(255));
        assert_eq!(with(&long).unwrap(), "x".repeat(255));
        assert_eq!(token(&resource(), "a"), None);
    }
}
