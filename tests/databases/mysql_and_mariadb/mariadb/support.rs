//! The words of the tests.

use keystead_cluster::{MariaDb, MariaDbOptions};

use crate::mysql_and_mariadb::bed;
pub(super) use crate::mysql_and_mariadb::bed::settings;

pub(super) use crate::changes::{administered, alternating, single};
pub(super) use crate::outcomes::{Kind, login, words};

/// The role that stands for the marker: the first digits of its SHA-256.
pub(super) const MARKER_ROLE: &str = "keystead:f5b0b79f0fdaca93da6492e293ff3fd5";

pub(super) type Bed = bed::Bed<MariaDb>;

/// A server that differs in more than its settings.
pub(super) async fn unusual(options: MariaDbOptions) -> Bed {
    Bed::on(MariaDb::start_with(options).await.unwrap()).await
}
