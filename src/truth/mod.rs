//! The truth in the operator's namespace: how it is named, read and written. Written by create or by
//! replace with a resource version, so that a leader that was overtaken is refused.

mod key_material;
mod needed;
mod needs;
mod recovery;
mod sealed;
#[cfg(test)]
pub(crate) mod testing;

pub use key_material::KeyMaterials;
pub use needed::{Needed, needed_by_targets, needed_by_truth};
pub use needs::{KeyInUse, Materials, Needs, all_needs};
pub use recovery::{Recovery, end_of};
pub use sealed::{Claim, SealedSecrets, Stored, is_truth, owner_of, truth_name};
