//! MySQL and MariaDB: passwords of users, by the user itself or by an admin.
//!
//! Nothing here knows Kubernetes or keeps state. A caller gives the stored versions of a login, and is told what came of
//! it ([`Outcome`](super::rotator::Outcome)). Each function makes as many connections as it needs, one after the other,
//! and closes them.
//!
//! ```text
//! pending logs in ───────────────────────────────▶ Done
//! current is refused, twice ─────────────────────▶ OwnershipConflict (one user with our marker, and an admin: goes on)
//! one user, no admin ──▶ current: own password ──▶ Done
//! one user, admin ─────▶ guard ──▶ its password ─▶ Done
//! two users, admin ────▶ guard ──▶ the other one: made, or its password ──▶ Done
//! ```
//!
//! # Whom an admin changes
//! Only the user that the pending version names, if `allowedUsers` of the admin's secret (where it is there) names it,
//! and if the account is this secret's: a stored password of it logs in, or is the one of the server's verifier (which
//! shows it for accounts that are locked, too), or it carries the marker that the caller gives.
//! Never one of the server's own or the admin itself, and never one that may change accounts or the server: on `*.*` an
//! account may look and run what others made, and no more; of the schema `mysql` it may read. Its roles count. Without
//! an admin a user changes itself, whatever it is.
//!
//! The admin needs CREATE USER and SELECT on `mysql.*`, and for two users also all that the first one has, each WITH
//! GRANT OPTION (roles: WITH ADMIN OPTION).
//!
//! # Hosts
//! An account is a name and a host, and a secret has the name only. A user who changes itself changes the account that
//! the server has matched with the login (`CURRENT_USER()`). For an admin there must be exactly one account of the name:
//! with several, nobody knows from where the consumers come, and nothing is changed. A login that ends as an account of
//! another name (the anonymous one, a proxy) is refused, as it proves nothing.
//!
//! # Markers
//! In MySQL 8.0.21 and later the marker is the member `keystead` of the account's attribute:
//! `ALTER USER 'orders'@'%' ATTRIBUTE '{"keystead": "<marker>"}'`. MariaDB has no place for words of others at an account.
//! What only whoever may change accounts can give one is a role: `keystead:` and the first 32 hexadecimal digits of the
//! marker's SHA-256 is the name of one that has no rights, and is granted to the accounts that it marks. The admin who
//! makes an account makes the role too. Older servers of MySQL have no marker: there the stored password has to be right.
//!
//! # Two users
//! `orders` and `orders_clone` take turns, so that consumers of the former password work on until they have loaded the
//! next one. The second one is made when it is needed first, for the first one's host, with its way to log in, what it
//! requires of connections, its limits, its rights and its roles. A right that cannot be read or given to another is named
//! by the server's refusal, and nothing can log in before all are given: there are no transactions for accounts, so the
//! account is made locked, and unlocked by the last statement. At each later turn the second one gets what the first one
//! has got since. The first one gets nothing from the second, and neither loses what was taken from the other: what is
//! revoked has to be revoked from both.
//!
//! # Two passwords
//! MySQL 8.0.14 and later can keep the password before beside a new one. For one user and an admin it is told to do so,
//! so that consumers of the former work on; it ends by [`discard_old`], or at the next change but one. To be kept
//! it must be the first of the account's two: where a change was begun and given up, the current one is the second
//! already, and stays. A user who changes itself has one password, and MariaDB's users have, so that consumers need two
//! users there, or a pause.
//!
//! # What the server gets to see
//! Verifiers where it takes them: of `mysql_native_password` (a hash without salt), `ed25519` and
//! `caching_sha2_password` (with as many rounds as the server's own, which are more from one release to the next); an
//! account keeps its way, and one with another way or with several is refused. MySQL asks for one or another way, also
//! `sha256_password`, if there is no such user, so that this alone says nothing of an account. The password
//! itself is sent, under TLS, in three cases: to MySQL by a user who changes itself, and for two passwords, as there is no
//! other form (the server leaves it out of its logs); and to MariaDB where a plug-in checks passwords and refuses what it
//! cannot see (`strict_password_validation`), and MariaDB's general log, if it is on, has it then. At a login no password
//! is sent, but for `caching_sha2_password`, which asks for it under TLS. There is no connection without TLS.

mod account;
mod change;
mod clone;
mod failure;
mod grants;
mod names;
mod password;
mod server;
mod session;
mod syntax;
mod verifier;

pub use super::address::Addresses;
pub use super::users::{Admin, AllowedUsers, Users};
pub use change::{Change, check, discard_old, set, test};
pub use names::alternate;
pub use server::{Server, server};
