//! Passwords: uniformly chosen among all strings that a policy allows.
//!
//! # Why there is no bias
//!
//! A character is chosen by taking the low bits of a random byte and drawing again if the number is
//! not an index of the alphabet: every index is equally likely. A candidate is such characters, so
//! every string over the alphabet is equally likely. A candidate that breaks a rule (a class is
//! missing, or it begins with `-`) is thrown away whole: what remains is uniform over exactly the
//! strings that satisfy the policy. (Putting one character of each class in and shuffling is not:
//! it makes strings with few characters of a class too likely.)
//!
//! # No password begins with `-`
//!
//! It would be read as an option by the first command line that it is put on. The rule holds for
//! every policy, so that nobody has to think of it; with the default alphabet it costs 0.023 bits.

use std::collections::BTreeSet;
use std::fmt;

use zeroize::Zeroizing;

use super::{GeneratorError, MAX_PASSWORD_LENGTH, check_length};
use crate::secrets::Random;
use crate::secrets::value::SecretBytes;

/// The length of a password if nothing else is said: 190 bits with the default alphabet.
pub const DEFAULT_LENGTH: u32 = 32;
/// The alphabet of the class `Symbols` if nothing else is said. These two mean nothing to a URL, a
/// shell, `.pgpass`, JSON, YAML or a properties file.
pub const DEFAULT_SYMBOLS: &str = "-_";

/// Most candidates that are looked at.
///
/// The least likely policy to be satisfied has four classes, four characters, and alphabets of 32, 1,
/// 1 and 1 characters of which one is `-`: a candidate passes with a probability above 3/4 * 4! * 32
/// / 35^4 > 0.00038 (a longer password can only be more likely to have each class). That none of
/// 200,000 passes is then less likely than 2^-109.
const MAX_CANDIDATES: usize = 200_000;

/// A class of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CharacterClass {
    /// `a` to `z`.
    Lowercase,
    /// `A` to `Z`.
    Uppercase,
    /// `0` to `9`.
    Digits,
    /// What [`PasswordPolicy::symbols`] lists.
    Symbols,
}

impl CharacterClass {
    /// All classes.
    pub const ALL: [Self; 4] = [
        Self::Lowercase,
        Self::Uppercase,
        Self::Digits,
        Self::Symbols,
    ];
}

impl fmt::Display for CharacterClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lowercase => "Lowercase",
            Self::Uppercase => "Uppercase",
            Self::Digits => "Digits",
            Self::Symbols => "Symbols",
        })
    }
}

/// What a password is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Number of characters, 1 to [`MAX_PASSWORD_LENGTH`].
    pub length: u32,
    /// The classes that it is made of.
    pub classes: BTreeSet<CharacterClass>,
    /// The characters of the class `Symbols`: printable ASCII punctuation. Their order and
    /// repetition mean nothing.
    pub symbols: String,
    /// Characters that never occur, of whatever class.
    pub exclude: String,
    /// Whether at least one character of each class occurs.
    pub require_each_class: bool,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            length: DEFAULT_LENGTH,
            classes: CharacterClass::ALL.into(),
            symbols: DEFAULT_SYMBOLS.to_owned(),
            exclude: String::new(),
            require_each_class: true,
        }
    }
}

impl PasswordPolicy {
    /// Refuses a policy that no password can satisfy.
    pub fn validate(&self) -> Result<(), GeneratorError> {
        check_length(self.length, MAX_PASSWORD_LENGTH)?;
        if self.classes.is_empty() {
            return Err(GeneratorError::NoClasses);
        }
        if let Some(position) = position_of(&self.exclude, |c| !matches!(c, ' '..='~')) {
            return Err(GeneratorError::ExcludeCharacter { position });
        }
        if let Some(position) = position_of(&self.symbols, |c| !c.is_ascii_punctuation()) {
            return Err(GeneratorError::SymbolCharacter { position });
        }
        if self.classes.contains(&CharacterClass::Symbols) && self.symbols.is_empty() {
            return Err(GeneratorError::NoSymbols);
        }
        let classes = self.classes.len();
        if self.require_each_class {
            if (self.length as usize) < classes {
                return Err(GeneratorError::TooShort {
                    length: self.length,
                    classes,
                });
            }
            let empty = |class: &&CharacterClass| self.characters(**class).is_empty();
            if let Some(class) = self.classes.iter().find(empty) {
                return Err(GeneratorError::ClassExcluded { class: *class });
            }
        }
        self.check_alphabet()
    }

    fn check_alphabet(&self) -> Result<(), GeneratorError> {
        let alphabet = self.alphabet();
        let beginnings = alphabet.iter().any(|character| *character != b'-');
        if alphabet.len() < 2 || !beginnings {
            return Err(GeneratorError::AlphabetTooSmall);
        }
        Ok(())
    }

    /// What is left of a class, ascending.
    fn characters(&self, class: CharacterClass) -> BTreeSet<u8> {
        let all: Vec<u8> = match class {
            CharacterClass::Lowercase => (b'a'..=b'z').collect(),
            CharacterClass::Uppercase => (b'A'..=b'Z').collect(),
            CharacterClass::Digits => (b'0'..=b'9').collect(),
            CharacterClass::Symbols => self.symbols.bytes().collect(),
        };
        let excluded = self.exclude.as_bytes();
        all.into_iter()
            .filter(|character| !excluded.contains(character))
            .collect()
    }

    fn alphabet(&self) -> Vec<u8> {
        let classes: BTreeSet<u8> = self
            .classes
            .iter()
            .flat_map(|class| self.characters(*class))
            .collect();
        classes.into_iter().collect()
    }

    /// Makes a password. The policy has been validated.
    pub(super) fn generate(&self, random: &mut Random<'_>) -> Result<SecretBytes, GeneratorError> {
        let alphabet = self.alphabet();
        let classes: Vec<_> = self
            .classes
            .iter()
            .map(|class| self.characters(*class))
            .collect();
        let mut indices = Indices::new(alphabet.len(), random);
        let mut candidate = Zeroizing::new(vec![0; self.length as usize]);
        for _ in 0..MAX_CANDIDATES {
            for character in candidate.iter_mut() {
                *character = alphabet[indices.next()?];
            }
            let has = |class: &BTreeSet<u8>| candidate.iter().any(|c| class.contains(c));
            let complete = !self.require_each_class || classes.iter().all(has);
            if complete && candidate.first() != Some(&b'-') {
                return Ok(candidate);
            }
        }
        Err(GeneratorError::Exhausted)
    }
}

fn position_of(text: &str, refused: impl Fn(char) -> bool) -> Option<usize> {
    text.chars().position(refused).map(|index| index + 1)
}

/// Uniform indices below a bound, from random bytes.
struct Indices<'a, 'b> {
    bound: usize,
    mask: u8,
    random: &'a mut Random<'b>,
    pool: Zeroizing<[u8; 64]>,
    used: usize,
}

impl<'a, 'b> Indices<'a, 'b> {
    /// `bound` is the size of an alphabet of ASCII characters: 2 to 94.
    fn new(bound: usize, random: &'a mut Random<'b>) -> Self {
        let mask = u8::try_from(bound.next_power_of_two() - 1).expect("an alphabet is ASCII");
        Self {
            bound,
            mask,
            random,
            pool: Zeroizing::new([0; 64]),
            used: 64,
        }
    }

    /// More than half of all masked bytes are below the bound, so that 4,096 refusals in a row mean
    /// broken randomness.
    fn next(&mut self) -> Result<usize, GeneratorError> {
        for _ in 0..4_096 {
            if self.used == self.pool.len() {
                (self.random)(&mut *self.pool);
                self.used = 0;
            }
            let index = usize::from(self.pool[self.used] & self.mask);
            self.used += 1;
            if index < self.bound {
                return Ok(index);
            }
        }
        Err(GeneratorError::Exhausted)
    }
}
