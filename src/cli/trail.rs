//! The arguments of the audit trail, and its start.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{error, info};

use crate::audit::{
    FileConfig, FileSink, Fsync, OnFailure, Origin, Progress, Sink, StreamSink, Trail,
};
use crate::clock::Clock;
use crate::hex::Hex;
use crate::telemetry::{Component, Metrics};

/// Where the audit trail goes.
#[allow(
    clippy::struct_field_names,
    reason = "they are the names of the arguments"
)]
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TrailArgs {
    /// Where audit lines are written, separated by commas: each is written to all of them.
    #[arg(
        long,
        env = "KEYSTEAD_AUDIT_LOG",
        value_enum,
        value_delimiter = ',',
        default_value = "stdout"
    )]
    audit_log: Vec<Destination>,
    /// The file of audit lines. Full ones get a number at the end of their name.
    #[arg(long, env = "KEYSTEAD_AUDIT_FILE", required_if_eq("audit_log", "file"))]
    audit_file: Option<PathBuf>,
    /// Largest size of an audit file, in MiB.
    #[arg(long, env = "KEYSTEAD_AUDIT_FILE_MAX_SIZE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    audit_file_max_size: u32,
    /// How many full audit files are kept; 0 keeps all.
    #[arg(long, env = "KEYSTEAD_AUDIT_FILE_KEEP", default_value_t = 10)]
    audit_file_keep: u16,
    /// Whether a line counts as written when it is on the disk (always), or when the kernel has it (never).
    #[arg(long, env = "KEYSTEAD_AUDIT_FILE_FSYNC", value_enum, default_value_t = Sync::Always)]
    audit_file_fsync: Sync,
    /// Use keys even when the audit log cannot be written.
    #[arg(long, env = "KEYSTEAD_AUDIT_FAIL_OPEN")]
    audit_fail_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Destination {
    /// Standard output, where the log goes too.
    Stdout,
    /// A file.
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sync {
    /// On the disk.
    Always,
    /// In the kernel.
    Never,
}

/// What the trail is started with.
pub(super) struct Start<'a> {
    /// The name of this replica.
    pub(super) replica: &'a str,
    /// The id of the installation.
    pub(super) installation: String,
    /// The clock.
    pub(super) clock: &'a Arc<dyn Clock>,
    /// Where it is shown how it does.
    pub(super) metrics: Metrics,
    /// What keeps the process from being ready while a sink fails.
    pub(super) component: Component,
}

impl TrailArgs {
    /// Starts the trail.
    pub(super) fn start(&self, start: Start<'_>) -> Trail {
        let mut wanted = self.audit_log.clone();
        wanted.sort_by_key(|destination| *destination as u8);
        wanted.dedup();
        let sinks: Vec<Box<dyn Sink>> = wanted.iter().filter_map(|to| self.sink(*to)).collect();
        let origin = Origin {
            replica: start.replica.to_owned(),
            installation: start.installation,
            chains: sinks.iter().map(|_| unique_name()).collect(),
        };
        let on_failure = if self.audit_fail_open {
            OnFailure::Continue
        } else {
            OnFailure::Refuse
        };
        let (metrics, component) = (start.metrics, start.component);
        let refuses = on_failure == OnFailure::Refuse;
        component.ready();
        let health = Health::default();
        Trail::start(
            sinks,
            &origin,
            start.clock,
            on_failure,
            move |sink, progress| {
                match progress {
                    Progress::Written(lines) => metrics.audit_written(*lines),
                    Progress::Failed(lines, _) => metrics.audit_failed(*lines),
                }
                let Some(failing) = health.turned(sink, progress) else {
                    return;
                };
                metrics.audit_failing(failing);
                match progress {
                    Progress::Failed(_, problem) => {
                        error!(sink, %problem, refuses, "the audit log cannot be written");
                        if refuses {
                            component.not_ready(format!(
                                "the audit log cannot be written to {sink}: {problem}"
                            ));
                        }
                    }
                    Progress::Written(_) => {
                        info!(sink, "the audit log is written");
                        if !failing {
                            component.ready();
                        }
                    }
                }
            },
        )
    }

    fn sink(&self, to: Destination) -> Option<Box<dyn Sink>> {
        match to {
            Destination::Stdout => Some(Box::new(StreamSink::stdout())),
            // Without a file the arguments are refused.
            Destination::File => self.audit_file.clone().map(|path| {
                let config = FileConfig {
                    path,
                    max_size: u64::from(self.audit_file_max_size) * 1024 * 1024,
                    keep: usize::from(self.audit_file_keep),
                    fsync: match self.audit_file_fsync {
                        Sync::Always => Fsync::Always,
                        Sync::Never => Fsync::Never,
                    },
                };
                Box::new(FileSink::new(config)) as Box<dyn Sink>
            }),
        }
    }
}

/// A name that no other audit trail has. It is no secret, but it must not come again after a restore.
fn unique_name() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .expect("the operating system gives randomness, without which no key can be made");
    Hex(&bytes).to_string()
}

/// Which sinks fail.
#[derive(Default)]
struct Health(std::sync::Mutex<std::collections::BTreeMap<String, bool>>);

impl Health {
    /// If the sink turned, whether any of them fails now.
    fn turned(&self, sink: &str, progress: &Progress<'_>) -> Option<bool> {
        let mut sinks = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let failing = matches!(progress, Progress::Failed(..));
        let before = sinks.insert(sink.to_owned(), failing);
        (before != Some(failing)).then(|| sinks.values().any(|failing| *failing))
    }
}
