//! What others get of a secret: the native Secret, and the restarts of who uses it.

pub(super) mod content;
pub(super) mod deliver;
pub(super) mod environment;
pub(super) mod former;
pub(super) mod guard;
pub(super) mod immutable;
pub(super) mod in_use;
pub(super) mod rollout;
pub(super) mod target;
