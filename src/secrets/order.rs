//! The order in which generators work: each after those that it needs.

use std::collections::BTreeMap;

use super::generate::{Authority, NamedGenerator, RecipeError};

/// A generator, and where the keys of its issuer are, if it has one.
pub(super) type Ordered<'a> = (&'a NamedGenerator, Option<Authority<'a>>);

/// Puts each generator after those that fill its inputs. `is_key`: whether the secret has a key of that name.
///
/// # Errors
/// With the generator's key: an input that the secret does not have, or a generator that needs itself.
pub(super) fn in_order(
    generators: &[NamedGenerator],
    is_key: impl Fn(&str) -> bool,
) -> Result<Vec<Ordered<'_>>, (&str, RecipeError)> {
    let fills = generators.iter().enumerate();
    let fills = fills.flat_map(|(index, named)| named.keys().map(move |key| (key, index)));
    let mut walk = Walk {
        generators,
        fills: fills.collect(),
        seen: vec![Seen::No; generators.len()],
        ordered: Vec::with_capacity(generators.len()),
    };
    for index in 0..generators.len() {
        walk.visit(index, &is_key)?;
    }
    Ok(walk.ordered)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// It is being visited: who comes back to it needs itself.
    Entered,
    Done,
}

struct Walk<'a> {
    generators: &'a [NamedGenerator],
    /// Which generator fills a key.
    fills: BTreeMap<&'a str, usize>,
    seen: Vec<Seen>,
    ordered: Vec<Ordered<'a>>,
}

impl<'a> Walk<'a> {
    /// Goes as deep as there are generators, which the schema limits to 64.
    fn visit(
        &mut self,
        index: usize,
        is_key: &impl Fn(&str) -> bool,
    ) -> Result<(), (&'a str, RecipeError)> {
        if self.seen[index] == Seen::Done {
            return Ok(());
        }
        self.seen[index] = Seen::Entered;
        let generators = self.generators;
        let named = &generators[index];
        for input in named.inputs() {
            let needed = self.fills.get(input.as_str()).copied();
            match needed {
                Some(needed) if self.seen[needed] == Seen::Entered => {
                    return Err((&named.key, RecipeError::Cycle { input }));
                }
                Some(needed) => self.visit(needed, is_key)?,
                None if is_key(&input) => {}
                None => return Err((&named.key, RecipeError::UnknownInput { input })),
            }
        }
        let issuer = self
            .issuer(named)
            .map_err(|error| (named.key.as_str(), error))?;
        self.seen[index] = Seen::Done;
        self.ordered.push((named, issuer));
        Ok(())
    }

    fn issuer(&self, named: &NamedGenerator) -> Result<Option<Authority<'a>>, RecipeError> {
        let Some(issuer) = named.issuer() else {
            return Ok(None);
        };
        let generators = self.generators;
        let found = generators.iter().find(|named| named.key == *issuer);
        let authority = found.and_then(NamedGenerator::authority);
        authority
            .map(Some)
            .ok_or_else(|| RecipeError::NotAnAuthority {
                issuer: issuer.to_owned(),
            })
    }
}
