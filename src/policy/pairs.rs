//! Pairs of encryption contexts as numbers: what many rules of a key ask for is compared as text once for each message, and not
//! once for each rule.

use std::collections::HashMap;

use super::grant::Context;

/// The pairs that the rules of a key ask for, each with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    numbers: HashMap<String, HashMap<String, u32>>,
    count: u32,
}

/// Those of the pairs that a message has.
#[derive(Debug)]
pub(super) struct Found(Vec<u32>);

impl Pairs {
    /// The numbers of pairs that a rule asks for.
    pub(super) fn asked(&mut self, context: &Context) -> Vec<u32> {
        let number = |(key, value): (&String, &String)| {
            let values = self.numbers.entry(key.clone()).or_default();
            *values.entry(value.clone()).or_insert_with(|| {
                self.count += 1;
                self.count
            })
        };
        context.iter().map(number).collect()
    }

    /// Looks a message's context up. It has few pairs, with a key of its own each.
    pub(super) fn found(&self, context: &Context) -> Found {
        let number = |(key, value)| self.numbers.get(key)?.get::<String>(value).copied();
        Found(context.iter().filter_map(number).collect())
    }
}

impl Found {
    /// Whether the message has all pairs that a rule asks for.
    pub(super) fn has_all(&self, asked: &[u32]) -> bool {
        asked.iter().all(|number| self.0.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pairs: &[(&str, &str)]) -> Context {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_message_has_what_is_asked_for_if_each_pair_is_in_it() {
        let mut pairs = Pairs::default();
        let team = pairs.asked(&context(&[("team", "a")]));
        let both = pairs.asked(&context(&[("app", "web"), ("team", "a")]));
        let other = pairs.asked(&context(&[("team", "b")]));
        let swapped = pairs.asked(&context(&[("a", "team")]));
        let found = pairs.found(&context(&[("app", "api"), ("more", "x"), ("team", "a")]));
        let has = [&team, &both, &other, &swapped].map(|asked| found.has_all(asked));
        assert_eq!(has, [true, false, false, false]);
        assert!(found.has_all(&[]), "who asks for nothing gets it");
        let found = pairs.found(&context(&[("app", "web"), ("team", "a")]));
        assert!(found.has_all(&both));
        assert!(!pairs.found(&Context::new()).has_all(&team));
    }
}
