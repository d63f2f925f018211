use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::sink::Place;
use super::super::verify::Verifier;
use super::*;
use crate::clock::SystemClock;

/// A sink in memory that can be made to fail or to hang.
#[derive(Clone, Default)]
struct Memory {
    lines: Arc<Mutex<Vec<u8>>>,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    /// How often it was asked to write, whether it did or not.
    asked: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl Sink for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn prepare(&mut self, _: usize) -> io::Result<Place> {
        Ok(Place::default())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        while self.hangs.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.lines.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.lines.lock().unwrap().clone()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let name = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["eventName"].as_str().unwrap().to_owned()
        };
        self.text().lines().map(name).collect()
    }
}

/// What the trail told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Counts>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    written: u64,
    failed: u64,
    failing: bool,
}

impl Told {
    fn add(&self, progress: &Progress<'_>) {
        let mut counts = self.0.lock().unwrap();
        match progress {
            Progress::Written(lines) => counts.written += lines,
            Progress::Failed(lines, _) => counts.failed += lines,
        }
        counts.failing = matches!(progress, Progress::Failed(..));
    }

    fn counts(&self) -> Counts {
        *self.0.lock().unwrap()
    }
}

fn trail(sinks: &[&Memory], on_failure: OnFailure) -> Trail {
    told_trail(sinks, on_failure, &Told::default())
}

fn told_trail(sinks: &[&Memory], on_failure: OnFailure, told: &Told) -> Trail {
    let told = told.clone();
    let boxed = |sink: &&Memory| Box::new((*sink).clone()) as Box<dyn Sink>;
    let origin = Origin {
        replica: "pod-1".to_owned(),
        installation: "i".to_owned(),
        chains: (0..sinks.len()).map(|i| format!("{i:032x}")).collect(),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Trail::start(
        sinks.iter().map(boxed).collect(),
        &origin,
        &clock,
        on_failure,
        move |_, progress| told.add(progress),
    )
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// A trail whose sink hangs in the middle of the line `Hanging`, on which nobody waits any longer.
async fn hanging(sink: &Memory, on_failure: OnFailure, told: &Told) -> Trail {
    let mut trail = told_trail(&[sink], on_failure, told);
    trail.write(entry("First")).await.unwrap();
    sink.hangs.store(true, Ordering::SeqCst);
    let before = sink.asked.load(Ordering::SeqCst);
    // Long enough that the writer begins with it.
    trail.patience = Duration::from_secs(2);
    let answer = trail.write(entry("Hanging")).await;
    assert_eq!(answer.is_ok(), on_failure == OnFailure::Continue);
    assert!(sink.asked.load(Ordering::SeqCst) > before);
    trail.patience = Duration::from_millis(50);
    trail
}

fn entry(name: &str) -> Entry {
    Entry::allowed(EventSource::Kms, name, Identity::secret("shop", "db"), "r")
}

fn is_intact(text: &str) -> bool {
    let mut verifier = Verifier::new(false);
    for line in text.split_inclusive('\n') {
        verifier.line(line.as_bytes());
    }
    verifier.finish().is_intact()
}

#[tokio::test]
async fn a_write_returns_when_the_line_is_in_every_sink() {
    let (one, two) = (Memory::default(), Memory::default());
    let trail = trail(&[&one, &two], OnFailure::Refuse);
    trail.write(entry("Decrypt")).await.unwrap();
    for sink in [&one, &two] {
        assert_eq!(sink.names(), ["StartAuditLog", "Decrypt"]);
        assert!(is_intact(&sink.text()));
    }
}

#[tokio::test]
async fn a_sink_that_fails_refuses_and_what_comes_after_follows_what_was_written() {
    let (good, bad) = (Memory::default(), Memory::default());
    let trail = trail(&[&good, &bad], OnFailure::Refuse);
    trail.write(entry("First")).await.unwrap();
    bad.fails.store(true, Ordering::SeqCst);
    assert_eq!(trail.write(entry("Refused")).await, Err(Unavailable));
    bad.fails.store(false, Ordering::SeqCst);
    trail.write(entry("Second")).await.unwrap();
    assert_eq!(
        bad.names(),
        ["StartAuditLog", "First", "ResumeAuditLog", "Second"]
    );
    assert!(bad.text().contains("\"lostLines\":\"1\""), "{}", bad.text());
    assert!(is_intact(&bad.text()) && is_intact(&good.text()));
}

#[tokio::test]
async fn when_told_to_go_on_it_does_and_says_later_how_much_is_lost() {
    let sink = Memory::default();
    let trail = trail(&[&sink], OnFailure::Continue);
    trail.write(entry("First")).await.unwrap();
    sink.fails.store(true, Ordering::SeqCst);
    trail
        .write_all(vec![entry("Lost"), entry("Lost")])
        .await
        .unwrap();
    sink.fails.store(false, Ordering::SeqCst);
    trail.write(entry("Second")).await.unwrap();
    assert_eq!(
        sink.names(),
        ["StartAuditLog", "First", "ResumeAuditLog", "Second"]
    );
    assert!(sink.text().contains("\"lostLines\":\"2\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_told_to_go_on_what_waited_in_vain_is_lost_and_what_was_begun_is_not() {
    let (sink, told) = (Memory::default(), Told::default());
    let mut trail = hanging(&sink, OnFailure::Continue, &told).await;
    assert!(told.counts().failing, "whoever watches knows that it hangs");
    // More than wait: some find no room.
    let many = QUEUE + 20;
    let writes = (0..many).map(|_| trail.write_all(vec![entry("Lost"), entry("Lost")]));
    let written = futures::future::join_all(writes).await;
    assert!(written.into_iter().all(|answer| answer.is_ok()));
    let lost = 2 * many as u64;
    assert_eq!(told.counts().failed, lost);
    sink.hangs.store(false, Ordering::SeqCst);
    until("the sink is well again", || !told.counts().failing).await;
    trail.patience = PATIENCE;
    trail.write(entry("Second")).await.unwrap();
    let names = [
        "StartAuditLog",
        "First",
        "Hanging",
        "ResumeAuditLog",
        "Second",
    ];
    assert_eq!(sink.names(), names);
    let said = format!("\"lostLines\":\"{lost}\"");
    assert!(sink.text().contains(&said), "{}", sink.text());
    assert!(is_intact(&sink.text()));
    let expected = Counts {
        written: names.len() as u64,
        failed: lost,
        failing: false,
    };
    assert_eq!(told.counts(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_told_to_refuse_what_waited_in_vain_did_not_happen_and_is_not_lost() {
    let (sink, told) = (Memory::default(), Told::default());
    let mut trail = hanging(&sink, OnFailure::Refuse, &told).await;
    assert_eq!(trail.write(entry("Refused")).await, Err(Unavailable));
    let counts = told.counts();
    assert!(counts.failing && counts.failed == 0, "{counts:?}");
    sink.hangs.store(false, Ordering::SeqCst);
    until("the sink is well again", || !told.counts().failing).await;
    trail.patience = PATIENCE;
    trail.write(entry("Second")).await.unwrap();
    assert_eq!(
        sink.names(),
        ["StartAuditLog", "First", "Hanging", "Second"]
    );
}

#[tokio::test]
async fn a_sink_that_could_not_be_opened_is_tried_again() {
    let sink = Memory::default();
    sink.fails.store(true, Ordering::SeqCst);
    let trail = trail(&[&sink], OnFailure::Refuse);
    assert_eq!(trail.write(entry("Refused")).await, Err(Unavailable));
    sink.fails.store(false, Ordering::SeqCst);
    trail.write(entry("Decrypt")).await.unwrap();
    assert_eq!(sink.names(), ["StartAuditLog", "ResumeAuditLog", "Decrypt"]);
    assert!(is_intact(&sink.text()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_one_chain_and_some_writes() {
    let sink = Memory::default();
    let trail = trail(&[&sink], OnFailure::Refuse);
    let writes = (0..500).map(|_| {
        let trail = trail.clone();
        tokio::spawn(async move { trail.write(entry("Decrypt")).await })
    });
    for written in futures::future::join_all(writes).await {
        written.unwrap().unwrap();
    }
    assert_eq!(sink.names().len(), 501);
    assert!(is_intact(&sink.text()));
    assert!(sink.writes.load(Ordering::SeqCst) <= 501);
}
