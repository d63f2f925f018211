//! The arguments of the audit trail, and its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

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
        let health = Health {
            metrics: start.metrics,
            component: start.component,
            on_failure,
            sinks: Mutex::default(),
        };
        health.component.ready();
        let watch = move |sink: &str, progress: &Progress<'_>| health.told(sink, progress);
        Trail::start(sinks, &origin, start.clock, on_failure, watch)
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

/// How the sinks do, shown as metrics, as readiness and in the log.
struct Health {
    metrics: Metrics,
    component: Component,
    on_failure: OnFailure,
    /// What is wrong with each; `None` if it is written.
    sinks: Mutex<Sinks>,
}

type Sinks = BTreeMap<String, Option<String>>;

impl Health {
    fn told(&self, sink: &str, progress: &Progress<'_>) {
        let problem = match progress {
            Progress::Written(lines) => {
                self.metrics.audit_written(*lines);
                None
            }
            Progress::Failed(lines, problem) => {
                self.metrics.audit_failed(*lines);
                Some(problem.to_string())
            }
        };
        if !self.turned(sink, problem.clone()) {
            return;
        }
        // Last, since the log goes where a sink may be what hangs.
        let refuses = self.refuses();
        if let Some(problem) = problem {
            error!(sink, %problem, refuses, "the audit log cannot be written");
        } else {
            info!(sink, "the audit log is written");
        }
    }

    /// Keeps how a sink does, and shows how all do; whether it did otherwise before. The other sinks wait: what is shown last must be
    /// what is so.
    fn turned(&self, sink: &str, problem: Option<String>) -> bool {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sinks.get(sink);
        if before == Some(&problem) {
            return false;
        }
        let turned = before.is_none_or(|before| before.is_some() != problem.is_some());
        sinks.insert(sink.to_owned(), problem);
        self.show(&sinks);
        turned
    }

    fn show(&self, sinks: &Sinks) {
        let failing = sinks
            .iter()
            .find_map(|(sink, problem)| Some((sink, problem.as_ref()?)));
        self.metrics.audit_failing(failing.is_some());
        match failing.filter(|_| self.refuses()) {
            Some((sink, problem)) => self.component.not_ready(format!(
                "the audit log cannot be written to {sink}: {problem}"
            )),
            None => self.component.ready(),
        }
    }

    fn refuses(&self) -> bool {
        self.on_failure == OnFailure::Refuse
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::telemetry::Readiness;

    fn health(on_failure: OnFailure) -> (Health, Readiness) {
        let readiness = Readiness::new();
        let health = Health {
            metrics: Metrics::new(),
            component: readiness.component("audit"),
            on_failure,
            sinks: Mutex::default(),
        };
        (health, readiness)
    }

    fn fail(health: &Health, sink: &str, problem: &str) {
        health.told(sink, &Progress::Failed(1, &io::Error::other(problem)));
    }

    fn write(health: &Health, sink: &str) {
        health.told(sink, &Progress::Written(1));
    }

    #[test]
    fn it_is_ready_when_no_sink_fails_and_names_one_that_does() {
        let (health, readiness) = health(OnFailure::Refuse);
        let says = |text: &str| {
            let reasons = readiness.reasons().unwrap_or_default();
            assert!(reasons.contains(text), "{text} is not in {reasons}");
        };
        write(&health, "one");
        assert!(readiness.is_ready());
        fail(&health, "one", "it is full");
        fail(&health, "two", "it hangs");
        write(&health, "two");
        says("one: it is full");
        fail(&health, "one", "it is gone");
        says("one: it is gone");
        fail(&health, "two", "it hangs");
        write(&health, "one");
        says("two: it hangs");
        write(&health, "two");
        assert!(readiness.is_ready());
    }

    #[test]
    fn sinks_that_turn_at_the_same_time_leave_what_is_so_in_the_end() {
        let (health, readiness) = health(OnFailure::Refuse);
        for _ in 0..500 {
            std::thread::scope(|threads| {
                fail(&health, "one", "it is full");
                threads.spawn(|| write(&health, "one"));
                threads.spawn(|| fail(&health, "two", "it hangs"));
            });
            assert!(!readiness.is_ready(), "two hangs");
            write(&health, "two");
            assert!(readiness.is_ready());
        }
    }

    #[test]
    fn a_process_that_goes_on_without_a_log_is_ready() {
        let (health, readiness) = health(OnFailure::Continue);
        health.component.ready();
        fail(&health, "one", "it is full");
        assert!(readiness.is_ready());
    }
}
