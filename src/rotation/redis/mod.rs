//! Redis (7 and later) and Valkey: passwords of ACL users, by the user itself or by an admin.
//!
//! Nothing here knows Kubernetes or keeps state. A caller gives the stored versions of a login, and is told what came of
//! it ([`Outcome`](super::rotator::Outcome)). Each function makes as many connections as it needs, one after the other,
//! and closes them.
//!
//! ```text
//! one user, no admin ──▶ current or pending logs in ──▶ its own password beside the others ──▶ saved ──▶ Done
//! one user, admin ─────▶ guard ──▶ a password beside the others ──▶ saved ──▶ Done
//! two users, admin ────▶ guard ──▶ the other one: made, or its password ──▶ saved ──▶ Done
//! none of what is stored is the user's ──────────▶ OwnershipConflict
//! ```
//!
//! # Passwords
//! A user has any number of passwords, and the server stores the SHA-256 of each. With one user the pending one is put
//! beside the current one, so that nobody is locked out; [`retire`] takes the one before away when all consumers have the
//! next. What it has left is taken away by the change after that. Only passwords that the caller knows are taken away:
//! those that somebody else has put at a user stay. Of two users the second one is Keystead's own, and has no other.
//!
//! # Whom an admin changes
//! Only the user that the pending version names, if `allowedUsers` of the admin's secret (where it is there) names it,
//! and if the user is this secret's: a stored password of it is among those that the server has of it. There are no
//! markers: a user of Redis has no place for words of others, and a password that nobody knows looks like a back door.
//! So a second user that was made for a version that is gone has to be deleted by hand, and the refusal says so.
//! Never `default`, whoever asks: every new connection is that user, and its password is `requirepass`, too. Never the
//! admin itself, and never one that may change users or the server, or see all data (the list is in `user`); the server is
//! asked (`ACL DRYRUN`), since rules have many forms. Without an admin a user changes itself, whatever it is, for which it
//! needs the right to change every other one: Redis has no right that is less.
//!
//! The admin needs `+acl|getuser +acl|setuser +acl|dryrun +acl|save +config|get +info`, and for a server without a file of
//! users `+acl|list +config|rewrite`. It can make itself mightier than that.
//!
//! # Two users
//! `orders` and `orders_clone` take turns, so that consumers of the former password work on until they have loaded the
//! next one. The second one is made when it is needed first, and is at each of its turns made anew with exactly the rules
//! that the first one has then, by one command: there is no moment in which it has less.
//!
//! # What a server forgets
//! Users are in its memory. They are saved to the file of users (`ACL SAVE`), or to the configuration (`CONFIG REWRITE`)
//! where there is no such file; where there is neither, nothing is changed. A server that cannot save is found out by
//! saving before anything is changed. Replicas and the nodes of a cluster have users of their own, which no other
//! learns of: a cluster and a replica are refused, and what a failover does is in the documentation.
//!
//! # What the server gets to see
//! The SHA-256 of a password in a change, and the password itself at a login, under TLS: Redis has no other way. There is
//! no connection without TLS.
//!
//! # Why there is no library
//! The protocol is two pages, of which five answers matter here. The common client takes passwords as texts only, bounds
//! no answer, and logs in as the default user when a server does not know how to log in by a name, which would prove
//! nothing about the user.

mod change;
mod digest;
mod facts;
mod failure;
mod names;
mod protocol;
mod rights;
mod server;
mod session;
mod store;
mod user;

pub use super::address::Addresses;
pub use super::users::{Admin, AllowedUsers, Users};
pub use change::{Change, check, retire, set, test};
pub use names::alternate;
pub use server::{Server, server};
