//! Who may do what with a key, as pure data and functions. Nothing here does I/O, and nothing calls it yet: so far it
//! names the actions, matches patterns of them, says which RBAC subresource each one is, and what one grant gives.

mod action;
mod grant;

pub use action::{Action, ActionPattern, RbacAttributes, UnknownAction};
pub use grant::{Context, Grant};
