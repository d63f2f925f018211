//! The certificates that the server proves itself with: an authority of our own for ten years, and a certificate of the
//! server for ninety days, each renewed when two thirds of its life are over.
//!
//! The controller alone makes and signs them; a replica of the server is given the server's own certificate and key, and
//! never those of the authority. Whoever trusts the authority is given the next one before it signs anything.
//!
//! `facts` reads what is there, `plan` decides (pure), `make` makes, `store` says how it is kept in Secrets.

mod facts;
mod make;
mod plan;
mod store;

pub use facts::{AuthorityFacts, Facts, LeafFacts, Validity};
pub use make::Error;
pub use plan::{Step, next_look, plan};
pub use store::{Stored, served};
