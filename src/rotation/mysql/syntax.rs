//! The server's language, as far as names, texts and lists of rights are concerned.
//!
//! What is written here is read by a session whose `sql_mode` is [`MODE`]: a backslash is a character like others, and
//! names are within backquotes, whatever the server's own mode is.

use std::fmt::Write as _;

/// The mode of our sessions. Within quotes only the quote itself means something, and it is doubled.
pub(super) const MODE: &str = "NO_BACKSLASH_ESCAPES";

/// What stands in the place of a verifier that the session may not see (MySQL).
const HIDDEN: &str = "<secret>";

/// Most tokens of one line: a line of more is nothing that we could have a use for.
const MAX_TOKENS: usize = 20_000;

/// A text, within single quotes.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name, within backquotes.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// An account, by name and host.
pub(super) fn account(user: &str, host: &str) -> String {
    format!("{}@{}", name(user), name(host))
}

/// A piece of a line in which a server shows rights or an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word or a number without quotes.
    Word(String),
    /// Something within backquotes.
    Name(String),
    /// Something within single quotes.
    Text(String),
    /// A sign between them.
    Sign(char),
    /// A verifier that this session may not see.
    Hidden,
}

impl Token {
    /// Whether it is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found.eq_ignore_ascii_case(word))
    }
}

/// What a backslash in a text is that a server shows to a session of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backslash {
    /// It is doubled, whatever the mode is, and any other one has no business there (MariaDB).
    Doubled,
    /// A character like others (MySQL).
    Itself,
}

/// Takes a line apart. Nothing if it is not understood to its end.
pub(super) fn tokens(line: &str, backslash: Backslash) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '`' => {
                let (read, after) = quoted(&rest[1..], '`', Backslash::Itself)?;
                (Token::Name(read), after)
            }
            '\'' => {
                let (read, after) = quoted(&rest[1..], '\'', backslash)?;
                (Token::Text(read), after)
            }
            // A point is between the parts of a name; in a number it is a part of it.
            '(' | ')' | ',' | '@' | '*' | '.' => (Token::Sign(first), &rest[1..]),
            _ => match rest.strip_prefix(HIDDEN) {
                Some(after) => (Token::Hidden, after),
                None => word(rest)?,
            },
        };
        tokens.push(token);
        if tokens.len() > MAX_TOKENS {
            return None;
        }
        rest = after.trim_start();
    }
    Some(tokens)
}

fn word(rest: &str) -> Option<(Token, &str)> {
    let number = rest.starts_with(|first: char| first.is_ascii_digit());
    let part = |character: char| {
        character.is_ascii_alphanumeric()
            || matches!(character, '_' | '$')
            || (number && character == '.')
    };
    let end = rest.find(|character| !part(character));
    let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
    (!word.is_empty()).then(|| (Token::Word(word.to_owned()), after))
}

/// Reads to the closing quote.
fn quoted(rest: &str, quote: char, backslash: Backslash) -> Option<(String, &str)> {
    let mut read = String::new();
    let mut characters = rest.char_indices().peekable();
    while let Some((_, character)) = characters.next() {
        if character == quote {
            if characters.next_if(|(_, next)| *next == quote).is_none() {
                let after = characters.peek().map_or(rest.len(), |(place, _)| *place);
                return Some((read, &rest[after..]));
            }
        } else if character == '\\' && backslash == Backslash::Doubled {
            characters.next_if(|(_, next)| *next == '\\')?;
        }
        read.push(character);
    }
    None
}

/// Puts tokens together again, to be read by a session of ours.
pub(super) fn written(tokens: &[Token]) -> String {
    let mut line = String::new();
    for token in tokens {
        // MySQL allows no space after the sign between a name and its host.
        if !line.is_empty() && !line.ends_with('@') && *token != Token::Sign('@') {
            line.push(' ');
        }
        match token {
            Token::Word(found) => line.push_str(found),
            Token::Name(found) => line.push_str(&name(found)),
            Token::Text(found) => line.push_str(&text(found)),
            Token::Sign(found) => {
                let _ = write!(line, "{found}");
            }
            Token::Hidden => line.push_str(HIDDEN),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(word: &str) -> Token {
        Token::Word(word.to_owned())
    }

    #[test]
    fn a_line_is_taken_apart_at_quotes_and_signs() {
        let line = "GRANT SELECT (`a``b`), X ON `s'`.* TO `o`@`%` REQUIRE SUBJECT '/CN=it''s \\\\x' WITH M 0.5";
        let expected = [
            word("GRANT"),
            word("SELECT"),
            Token::Sign('('),
            Token::Name("a`b".to_owned()),
            Token::Sign(')'),
            Token::Sign(','),
            word("X"),
            word("ON"),
            Token::Name("s'".to_owned()),
            Token::Sign('.'),
            Token::Sign('*'),
            word("TO"),
            Token::Name("o".to_owned()),
            Token::Sign('@'),
            Token::Name("%".to_owned()),
            word("REQUIRE"),
            word("SUBJECT"),
            Token::Text("/CN=it's \\x".to_owned()),
            word("WITH"),
            word("M"),
            word("0.5"),
        ];
        assert_eq!(tokens(line, Backslash::Doubled).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_not_understood_to_its_end_is_not_taken_apart() {
        for line in [
            "GRANT `a", "'a", "'a''", "'a\\'", "'a\\n'", "a;b", "a -- b", "a \"b\"", "é", "<",
            "<b>",
        ] {
            assert_eq!(tokens(line, Backslash::Doubled), None, "{line}");
        }
        let long = "a ".repeat(MAX_TOKENS + 1);
        assert_eq!(tokens(&long, Backslash::Doubled), None);
    }

    #[test]
    fn a_backslash_is_itself_where_a_server_does_not_double_it() {
        let read = |line| tokens(line, Backslash::Itself);
        let text = |text: &str| Some(vec![Token::Text(text.to_owned())]);
        assert_eq!(read(r"'a\b''c\\d\'"), text(r"a\b'c\\d\"));
        assert_eq!(read(r"'a\''"), None);
    }

    proptest! {
        #[test]
        fn a_quoted_name_is_that_name_and_nothing_more(found in "[\"'`\\\\;@.a-zé \\-]{0,20}") {
            let tokens = tokens(&name(&found), Backslash::Doubled);
            prop_assert_eq!(tokens, Some(vec![Token::Name(found)]));
        }

        #[test]
        fn a_quoted_text_ends_where_it_is_to_end(found in "[\"'`\\\\;@.a-zé \\-]{0,20}") {
            let quoted = text(&found);
            // As a server reads it in our mode: a doubled quote is one, and every other character is itself.
            let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap();
            prop_assert!(!inner.replace("''", "").contains('\''));
            prop_assert_eq!(inner.replace("''", "'"), found);
        }

        #[test]
        fn an_account_is_two_names(user in "\\PC{0,20}", host in "\\PC{0,20}") {
            let tokens = tokens(&account(&user, &host), Backslash::Doubled).unwrap();
            prop_assert_eq!(tokens, [Token::Name(user), Token::Sign('@'), Token::Name(host)]);
        }

        #[test]
        fn nothing_makes_it_panic(line in "[\\PC`']{0,60}") {
            for backslash in [Backslash::Doubled, Backslash::Itself] {
                if let Some(tokens) = tokens(&line, backslash) {
                    prop_assert!(tokens.len() <= line.len());
                }
            }
        }
    }
}
