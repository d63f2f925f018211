//! The trail of one process: entries in, lines out, and an answer only when they are written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::chain::{Chain, Genesis};
use super::record::{Decision, Entry, EventSource, Identity};
use super::sink::Sink;
use crate::clock::Clock;

/// How many writes may wait. Whoever comes later waits for room.
const QUEUE: usize = 1024;
/// Most waiting writes that share one write of the sink, and one fsync.
const BATCH: usize = 128;
/// Longest wait for a line: a sink that hangs is as good as one that fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a sink that failed is tried although nobody asks.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// A line was not written, so that what it speaks of must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written; every use of a key is refused until it can")]
pub struct Unavailable;

/// What follows from a line that was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// What it speaks of is refused.
    Refuse,
    /// It is done nevertheless, and the number of lost lines is written when that is possible again.
    Continue,
}

/// Who writes.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The name of this replica.
    pub replica: String,
    /// The id of the installation.
    pub installation: String,
    /// A name for each sink's chain that no other chain has, from randomness.
    pub chains: Vec<String>,
}

/// How a sink does, for whoever shows it.
#[derive(Debug)]
pub enum Progress<'a> {
    /// That many lines were written to it.
    Written(u64),
    /// That many lines were not written to it, for this reason.
    Failed(u64, &'a io::Error),
}

type Watch = Arc<dyn Fn(&str, &Progress<'_>) + Send + Sync>;

/// The trail. Clones are handles of the same.
#[derive(Clone)]
pub struct Trail {
    writers: Arc<[mpsc::Sender<Job>]>,
    on_failure: OnFailure,
}

struct Job {
    entries: Vec<Entry>,
    done: oneshot::Sender<Result<(), Unavailable>>,
}

impl Trail {
    /// Starts a thread for each sink, which writes the first line of its chain at once; it may fail, and is tried again.
    /// `watch` is told how the sinks do.
    ///
    /// # Panics
    /// If the operating system gives no thread.
    pub fn start(
        sinks: Vec<Box<dyn Sink>>,
        origin: &Origin,
        clock: &Arc<dyn Clock>,
        on_failure: OnFailure,
        watch: impl Fn(&str, &Progress<'_>) + Send + Sync + 'static,
    ) -> Self {
        let watch: Watch = Arc::new(watch);
        let spawn = |(sink, chain): (Box<dyn Sink>, &String)| {
            let (sender, jobs) = mpsc::channel(QUEUE);
            let writer = Writer {
                name: sink.name(),
                sink,
                chain: Chain::new(chain.clone(), origin.replica.clone()),
                genesis: Genesis {
                    installation: origin.installation.clone(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    resumes: None,
                },
                clock: clock.clone(),
                watch: watch.clone(),
                lost: 0,
                failing: false,
            };
            std::thread::Builder::new()
                .name("audit".to_owned())
                .spawn(move || writer.run(jobs))
                .expect("the operating system gives a thread at start");
            sender
        };
        Self {
            writers: sinks.into_iter().zip(&origin.chains).map(spawn).collect(),
            on_failure,
        }
    }

    /// Writes an entry to every sink, and returns when it is written.
    ///
    /// # Errors
    /// A sink failed, or did not answer in time, and the trail was told to refuse then.
    pub async fn write(&self, entry: Entry) -> Result<(), Unavailable> {
        self.write_all(vec![entry]).await
    }

    /// Writes several entries, all of them or none.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_all(&self, entries: Vec<Entry>) -> Result<(), Unavailable> {
        if entries.is_empty() {
            return Ok(());
        }
        let writes = self
            .writers
            .iter()
            .map(|writer| write(writer, entries.clone()));
        let written = futures::future::join_all(writes).await;
        match self.on_failure {
            OnFailure::Refuse => written.into_iter().collect(),
            OnFailure::Continue => Ok(()),
        }
    }
}

async fn write(writer: &mpsc::Sender<Job>, entries: Vec<Entry>) -> Result<(), Unavailable> {
    let (done, answer) = oneshot::channel();
    let written = async {
        writer
            .send(Job { entries, done })
            .await
            .map_err(|_| Unavailable)?;
        answer.await.map_err(|_| Unavailable)?
    };
    tokio::time::timeout(PATIENCE, written)
        .await
        .unwrap_or(Err(Unavailable))
}

/// The one that writes to a sink.
struct Writer {
    name: String,
    sink: Box<dyn Sink>,
    chain: Chain,
    genesis: Genesis,
    clock: Arc<dyn Clock>,
    watch: Watch,
    /// Lines that were asked for and not written since the last one that was.
    lost: u64,
    /// Whether the last write failed.
    failing: bool,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // The first line says that the trail begins, before anything else happens.
        let _ = self.attempt(&[]);
        loop {
            let first = if self.failing || self.chain.is_empty() {
                match receive(&mut jobs, PROBE_EVERY) {
                    Received::Job(job) => job,
                    Received::Nothing => {
                        // Whoever watches is told how it went.
                        let _ = self.attempt(&[]);
                        continue;
                    }
                    Received::Closed => return,
                }
            } else {
                match jobs.blocking_recv() {
                    Some(job) => job,
                    None => return,
                }
            };
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            // Whoever gave up waiting was refused: nothing happened that a line should speak of.
            batch.retain(|job| !job.done.is_closed());
            let answer = self.attempt(&batch);
            for job in batch {
                // Gave up just now; the line then speaks of what was refused in the end, which is the safe side.
                let _ = job.done.send(answer);
            }
        }
    }

    /// Writes a batch, and tells whoever watches.
    fn attempt(&mut self, batch: &[Job]) -> Result<(), Unavailable> {
        let asked = batch.iter().map(|job| job.entries.len() as u64).sum();
        let before = self.chain.clone();
        match self.try_write(batch) {
            Ok(lines) => {
                (self.failing, self.lost) = (false, 0);
                (self.watch)(&self.name, &Progress::Written(lines));
                Ok(())
            }
            Err(error) => {
                self.chain = before;
                self.failing = true;
                self.lost += asked;
                (self.watch)(&self.name, &Progress::Failed(asked, &error));
                Err(Unavailable)
            }
        }
    }

    fn try_write(&mut self, batch: &[Job]) -> io::Result<u64> {
        // A rough guess is enough: files may be a little larger or smaller.
        let size = 600 * batch.iter().map(|job| job.entries.len()).sum::<usize>();
        let place = self.sink.prepare(size)?;
        if place.resumes.is_some() {
            self.genesis.resumes = place.resumes;
        }
        let time = self.clock.now().to_string();
        let first = self.chain.is_empty();
        let mut lines = Vec::with_capacity(size);
        let mut count = 0;
        let mut add = |entry: Entry, genesis: Option<&Genesis>| {
            self.chain.append(&time, entry, genesis, &mut lines);
            count += 1;
        };
        if first {
            add(
                own("StartAuditLog", "the trail of this process begins"),
                Some(&self.genesis),
            );
        } else if place.begins {
            add(own("RotateAuditLog", "a new file begins"), None);
        }
        if self.failing {
            let mut entry = own("ResumeAuditLog", "the log could not be written for a while");
            let lost = self.lost.to_string();
            entry
                .request_parameters
                .other
                .insert("lostLines".to_owned(), lost);
            add(entry, None);
        }
        for entry in batch.iter().flat_map(|job| &job.entries) {
            add(entry.clone(), None);
        }
        self.sink.write(&lines)?;
        Ok(count)
    }
}

enum Received {
    Job(Job),
    Nothing,
    Closed,
}

/// Waits for a job, but not for ever.
fn receive(jobs: &mut mpsc::Receiver<Job>, patience: Duration) -> Received {
    const STEP: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match jobs.try_recv() {
            Ok(job) => return Received::Job(job),
            Err(mpsc::error::TryRecvError::Disconnected) => return Received::Closed,
            Err(mpsc::error::TryRecvError::Empty) if waited >= patience => {
                return Received::Nothing;
            }
            Err(mpsc::error::TryRecvError::Empty) => {
                std::thread::sleep(STEP);
                waited += STEP;
            }
        }
    }
}

/// A line about the trail itself.
fn own(name: &str, reason: &str) -> Entry {
    let mut entry = Entry::allowed(EventSource::Audit, name, Identity::default(), "");
    "keystead".clone_into(&mut entry.user_identity.user);
    entry.decision = Decision::Allow;
    reason.clone_into(&mut entry.reason);
    entry
}

#[cfg(test)]
#[path = "trail_tests.rs"]
mod tests;
