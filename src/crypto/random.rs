//! Where random bytes come from. Always an argument, so that a test vector can be reproduced.

use super::error::RandomError;

/// A source of cryptographically secure random bytes.
pub trait Random {
    /// Fills `out` completely, or fails without a promise about its content.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's generator: what production code passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(out).map_err(|_| RandomError)
    }
}

/// `N` random bytes that are no secret, such as a salt or an id.
pub(super) fn public_bytes<const N: usize>(
    random: &mut dyn Random,
) -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}
