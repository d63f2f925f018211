//! Sources of randomness for tests.

use crate::crypto::{Random, RandomError};

/// What a closure fills in.
pub(super) struct Filled<F>(pub(super) F);

impl<F: FnMut(&mut [u8])> Random for Filled<F> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        (self.0)(out);
        Ok(())
    }
}

/// Every byte is this one.
pub(super) fn all(byte: u8) -> impl Random {
    Filled(move |out: &mut [u8]| out.fill(byte))
}

/// A source that must not be asked.
pub(super) fn never() -> impl Random {
    Filled(|_: &mut [u8]| panic!("nothing may be generated"))
}

/// A source that has nothing to give.
pub(super) struct Dry;

impl Random for Dry {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}
