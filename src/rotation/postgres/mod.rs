//! PostgreSQL: passwords of roles, by the role itself or by an admin.
//!
//! Nothing here knows Kubernetes or keeps state. A caller gives the stored versions of a login, and is told what came of
//! it ([`Outcome`](super::rotator::Outcome)). Each of the three functions makes as many connections as it needs, one
//! after the other, and closes them.
//!
//! ```text
//! pending logs in ───────────────────────────────▶ Done
//! current is refused ────────────────────────────▶ OwnershipConflict (one user with our marker, and an admin: goes on)
//! one user, no admin ──▶ current: own password ──▶ Done
//! one user, admin ─────▶ guard ──▶ its password ─▶ Done
//! two users, admin ────▶ guard ──▶ the other one: made, or its password ──▶ Done
//! ```
//!
//! # Whom an admin changes
//! Only the role that the pending version names, if `allowedUsers` of the admin's secret (where it is there) names it,
//! and if the role is this secret's: its stored password logs in, or a line of its comment is the marker that the caller
//! gives. Never a superuser or one who could become that, never the admin itself or one of its members. Without an
//! admin a role changes itself, whatever it is.
//!
//! # Two users
//! `orders` and `orders_clone` take turns, so that consumers of the former password work on until they have loaded the
//! next one. The second one is made when it is needed first, with the marker, and is a member of the first one: what is
//! granted to `orders` holds for both. What somebody makes belongs to him, though, and `orders` is no member of its
//! clone. So the clone is set to act as the first one (`ALTER ROLE orders_clone SET role = 'orders'`): tables that either
//! makes belong to `orders`, and `current_user` is `orders` in both, while `session_user` tells them apart. A pooler that
//! resets this (`DISCARD ALL`) leaves the membership, and takes the ownership of new tables away. Its limit of
//! connections and its settings are copied when it is made, and not later; the time until which its password is valid
//! is not.
//!
//! # What the server gets to see
//! A verifier of SCRAM (RFC 5802, RFC 7677), never a password: not in a statement, and not at a login either, unless the
//! server asks for it in clear text under TLS. `log_statement` may put the verifier into the server's log; whoever has it
//! can try passwords at leisure, which is hopeless with generated ones.

mod change;
mod failure;
mod names;
mod role;
mod server;
mod session;
mod tls;
mod watched;

pub use super::address::Addresses;
pub use super::users::{Admin, AllowedUsers, Users};
pub use change::{Change, check, set, test};
pub use names::alternate;
pub use server::{Server, Tls, server};
