//! What is logged, of every process that serves.

use crate::telemetry::{self, Format, InitError};

#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// How log lines look.
    #[arg(long, env = "KEYSTEAD_LOG_FORMAT", value_enum, default_value_t = Format::Json)]
    log_format: Format,
    /// What is logged: levels by target, as `info,keystead=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log: String,
}

impl LogArgs {
    /// Logs from now on, by a filter in all of the syntax of `RUST_LOG`.
    pub(super) fn init(&self) -> Result<(), InitError> {
        telemetry::init(self.log_format, &self.log)
    }

    /// Logs from now on, by targets and levels only.
    pub(crate) fn init_small(&self) -> Result<(), InitError> {
        telemetry::init_small(self.log_format, &self.log)
    }
}
