//! The cryptography through its public interface.

mod envelope;
mod material;
mod small;
mod support;
