//! The truth in the operator's namespace: how it is named, read and written. Written by create or by
//! replace with a resource version, so that a leader that was overtaken is refused.

mod key_material;
mod needed;
mod sealed;

pub use key_material::KeyMaterials;
pub use needed::{Needed, needed_by_targets, needed_by_truth};
pub use sealed::{
    Claim, KeyInUse, Needs, Recovery, SealedSecrets, Stored, end_of, is_truth, owner_of, truth_name,
};
