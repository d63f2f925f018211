//! The trail of one process: entries in, lines out, and an answer only when they are written.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// It failed or did not answer in time, for this reason. That many lines are not in it and will not be; of one that hangs,
    /// only those without which something was done: what was refused for want of an answer needs no line.
    Failed(u64, &'a io::Error),
}

type Watch = Arc<dyn Fn(&str, &Progress<'_>) + Send + Sync>;

/// The trail. Clones are handles of the same.
#[derive(Clone)]
pub struct Trail {
    writers: Arc<[Handle]>,
    on_failure: OnFailure,
    patience: Duration,
}

type Answer = Result<(), Unavailable>;

struct Job {
    entries: Vec<Entry>,
    claim: Claim,
    done: oneshot::Sender<Answer>,
}

/// Who decides what becomes of a job: the writer, once it begins with it, or the one who asked, once he gave up.
#[derive(Clone, Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether it is the caller's: that of the first only.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// How a sink does, kept by its writer and by those who gave up. Who tells of it holds `lost` until the answers are given, so that
/// what is told last is what happened last.
struct Account {
    sink: String,
    watch: Watch,
    /// Lines that were asked for and not written, and that no line of the log speaks of yet.
    lost: Mutex<u64>,
}

impl Account {
    fn lost(&self) -> MutexGuard<'_, u64> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, lines: u64) {
        (self.watch)(&self.sink, &Progress::Written(lines));
    }

    fn failed(&self, lost: &mut u64, lines: u64, error: &io::Error) {
        *lost += lines;
        (self.watch)(&self.sink, &Progress::Failed(lines, error));
    }
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
            let account = Arc::new(Account {
                sink: sink.name(),
                watch: watch.clone(),
                lost: Mutex::default(),
            });
            let writer = Writer {
                account: account.clone(),
                on_failure,
                sink,
                chain: Chain::new(chain.clone(), origin.replica.clone()),
                genesis: Genesis {
                    installation: origin.installation.clone(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    resumes: None,
                },
                clock: clock.clone(),
                failing: false,
            };
            std::thread::Builder::new()
                .name("audit".to_owned())
                .spawn(move || writer.run(jobs))
                .expect("the operating system gives a thread at start");
            Handle {
                jobs: sender,
                account,
            }
        };
        Self {
            writers: sinks.into_iter().zip(&origin.chains).map(spawn).collect(),
            on_failure,
            patience: PATIENCE,
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
        // The last sink gets the entries themselves, so that one alone costs no copy.
        let copies = std::iter::repeat_n(entries, self.writers.len());
        let writes = self
            .writers
            .iter()
            .zip(copies)
            .map(|(writer, entries)| writer.write(entries, self.on_failure, self.patience));
        let written = futures::future::join_all(writes).await;
        match self.on_failure {
            OnFailure::Refuse => written.into_iter().collect(),
            OnFailure::Continue => Ok(()),
        }
    }
}

/// The way to the writer of a sink.
struct Handle {
    jobs: mpsc::Sender<Job>,
    account: Arc<Account>,
}

impl Handle {
    async fn write(
        &self,
        entries: Vec<Entry>,
        on_failure: OnFailure,
        patience: Duration,
    ) -> Answer {
        // Without an answer, what they speak of is done only by a trail that goes on.
        let lines = match on_failure {
            OnFailure::Refuse => 0,
            OnFailure::Continue => entries.len() as u64,
        };
        let (claim, (done, mut answer)) = (Claim::default(), oneshot::channel());
        let job = Job {
            entries,
            claim: claim.clone(),
            done,
        };
        let written = async {
            self.jobs.send(job).await.ok()?;
            (&mut answer).await.ok()
        };
        let problem = match tokio::time::timeout(patience, written).await {
            Ok(Some(answer)) => return answer,
            Ok(None) => io::Error::other("its writer is gone"),
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "it does not answer"),
        };
        self.give_up(&claim, &mut answer, lines, &problem)
    }

    /// Tells that nobody waits for these lines any longer.
    fn give_up(
        &self,
        claim: &Claim,
        answer: &mut oneshot::Receiver<Answer>,
        lines: u64,
        problem: &io::Error,
    ) -> Answer {
        let mut lost = self.account.lost();
        if let Ok(answer) = answer.try_recv() {
            // It came just now, and how the sink does was told with it.
            return answer;
        }
        // What the writer has begun with may still be written: it tells when it knows.
        let lines = if claim.take() { lines } else { 0 };
        self.account.failed(&mut lost, lines, problem);
        drop(lost);
        // There was no room for the job, and by now the writer may be idle: it has to look, so that it tells when the sink is well
        // again. If there is still no room, it has enough to do.
        let (done, _) = oneshot::channel();
        let _ = self.jobs.try_send(Job {
            entries: Vec::new(),
            claim: Claim::default(),
            done,
        });
        Err(Unavailable)
    }
}

/// The one that writes to a sink.
struct Writer {
    account: Arc<Account>,
    on_failure: OnFailure,
    sink: Box<dyn Sink>,
    chain: Chain,
    genesis: Genesis,
    clock: Arc<dyn Clock>,
    /// Whether the last write failed.
    failing: bool,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // The first line says that the trail begins, before anything else happens.
        self.attempt(Vec::new());
        loop {
            let first = if self.failing || self.chain.is_empty() {
                match receive(&mut jobs, PROBE_EVERY) {
                    Received::Job(job) => job,
                    Received::Nothing => {
                        // Whoever watches is told how it went.
                        self.attempt(Vec::new());
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
            batch.retain(|job| self.is_wanted(job));
            self.attempt(batch);
        }
    }

    /// Whether a line has to speak of it. Who gave up has told what follows from that. Who is gone without a word was refused, if
    /// that is what follows; if not, it may have been done.
    fn is_wanted(&self, job: &Job) -> bool {
        let gone = job.done.is_closed() && self.on_failure == OnFailure::Refuse;
        !gone && job.claim.take()
    }

    /// Writes a batch, and tells whoever watches and whoever asked.
    fn attempt(&mut self, mut batch: Vec<Job>) {
        let asked = batch.iter().map(|job| job.entries.len() as u64).sum();
        let (before, lost_before) = (self.chain.clone(), *self.account.lost());
        let written = self.try_write(&mut batch, lost_before);
        let account = self.account.clone();
        let mut lost = account.lost();
        self.failing = written.is_err();
        match &written {
            Ok(lines) => {
                // Others may have given up since.
                *lost -= lost_before;
                account.written(*lines);
            }
            Err(error) => {
                self.chain = before;
                account.failed(&mut lost, asked, error);
            }
        }
        let answer = written.map(|_| ()).map_err(|_| Unavailable);
        for job in batch {
            // Gave up just now; the line then speaks of what was refused in the end, which is the safe side.
            let _ = job.done.send(answer);
        }
    }

    /// Takes the entries out of the jobs.
    fn try_write(&mut self, batch: &mut [Job], lost: u64) -> io::Result<u64> {
        // A rough guess is enough: files may be a little larger or smaller.
        let size = 600 * batch.iter().map(|job| job.entries.len()).sum::<usize>();
        let place = self.sink.prepare(size)?;
        self.genesis.resumes = place.resumes;
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
        if self.failing || lost > 0 {
            let mut entry = own("ResumeAuditLog", "the log could not be written for a while");
            entry
                .request_parameters
                .other
                .insert("lostLines".to_owned(), lost.to_string());
            add(entry, None);
        }
        for entry in batch.iter_mut().flat_map(|job| job.entries.drain(..)) {
            add(entry, None);
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
