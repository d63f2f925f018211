//! Tokens: each new one asks for something once.

/// Remembers a token, and forgets the oldest ones beyond `most`.
pub(crate) fn remember(tokens: &mut Vec<String>, token: &str, most: usize) {
    if !tokens.iter().any(|known| known == token) {
        let surplus = (tokens.len() + 1).saturating_sub(most);
        tokens.drain(..surplus);
        tokens.push(token.to_owned());
    }
}
