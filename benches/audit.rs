//! What a line of the audit trail costs: made, checked, and written to a file on the disk.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that fails to set up has nothing to report"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use keystead::audit::{
    Chain, Entry, EventSource, FileConfig, FileSink, Fsync, Identity, Sink, Verifier,
};

fn entry() -> Entry {
    let mut entry = Entry::allowed(
        EventSource::SecretsManager,
        "Decrypt",
        Identity::secret("shop", "orders-db"),
        "0123456789abcdef0123456789abcdef",
    );
    let context = &mut entry.request_parameters.encryption_context;
    context.insert("team".to_owned(), "orders".to_owned());
    entry
}

fn lines(count: usize) -> Vec<u8> {
    let mut chain = Chain::new("c".repeat(32), "keystead-controller-0".to_owned());
    let mut lines = Vec::new();
    for _ in 0..count {
        chain.append("2026-11-25T10:00:00Z", entry(), None, &mut lines);
    }
    lines
}

fn benchmarks(criterion: &mut Criterion) {
    criterion.bench_function("audit line: make", |bencher| {
        let mut chain = Chain::new("c".repeat(32), "keystead-controller-0".to_owned());
        let mut lines = Vec::new();
        bencher.iter(|| {
            lines.clear();
            chain.append("2026-11-25T10:00:00Z", black_box(entry()), None, &mut lines);
        });
    });
    let log = lines(1000);
    criterion.bench_function("audit log: verify 1000 lines", |bencher| {
        bencher.iter(|| {
            let mut verifier = Verifier::new(true);
            for line in log.split_inclusive(|byte| *byte == b'\n') {
                verifier.line(black_box(line));
            }
            verifier.finish()
        });
    });
    for (name, fsync) in [("kernel", Fsync::Never), ("disk", Fsync::Always)] {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = FileSink::new(FileConfig {
            path: folder.path().join("audit.log"),
            max_size: 100 * 1024 * 1024,
            keep: 1,
            fsync,
        });
        let line = lines(1);
        criterion.bench_function(&format!("audit line: write to the {name}"), |bencher| {
            bencher.iter(|| {
                sink.prepare(line.len()).unwrap();
                sink.write(&line).unwrap();
            });
        });
    }
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
