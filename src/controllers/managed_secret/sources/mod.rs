//! Where the value of a secret comes from, and the next version that is made of it.

pub(super) mod asked;
mod back;
pub(super) mod generated;
pub(super) mod imports;
pub(super) mod issuers;
pub(super) mod native;
mod rotated;
pub(super) mod sealed;
pub(super) mod takeover;
pub(super) mod value;
