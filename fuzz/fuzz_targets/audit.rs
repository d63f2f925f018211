//! The reader of audit logs: it may not panic, and finds every byte of a log that is changed.
#![no_main]

#[allow(dead_code, unreachable_pub)]
#[path = "../../src/audit/chain.rs"]
mod chain;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/hex.rs"]
mod hex;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/audit/record.rs"]
mod record;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/audit/verify.rs"]
mod verify;

use chain::{Chain, Genesis, MAX_LINE};
use libfuzzer_sys::fuzz_target;
use record::{Entry, EventSource, Identity};
use verify::Verifier;

fn is_intact(log: &[u8]) -> bool {
    let mut verifier = Verifier::new(false);
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        verifier.line(line);
    }
    verifier.finish().is_intact()
}

/// A log of four lines that say what the fuzzer wants.
fn log(text: &str) -> Vec<u8> {
    let genesis = Genesis {
        installation: "i".to_owned(),
        version: "0".to_owned(),
        resumes: None,
    };
    let mut chain = Chain::new("c".repeat(32), "pod".to_owned());
    let mut log = Vec::new();
    for number in 0..4 {
        let mut entry = Entry::allowed(
            EventSource::Kms,
            "Decrypt",
            Identity::secret("shop", text),
            text,
        );
        entry.reason = text.to_owned();
        let context = &mut entry.request_parameters.encryption_context;
        context.insert(text.to_owned(), text.to_owned());
        let first = (number == 0).then_some(&genesis);
        chain.append("2026-11-25T10:00:00Z", entry, first, &mut log);
    }
    log
}

fuzz_target!(|data: &[u8]| {
    // As it comes from a file.
    let _ = is_intact(data);
    // As a log of ours, and with one byte of it changed before the last line.
    let Some((head, text)) = data.split_first_chunk::<4>() else {
        return;
    };
    let mut log = log(&String::from_utf8_lossy(text));
    let lines: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 4, "no text makes a line of its own");
    assert!(lines.iter().all(|line| line.len() < MAX_LINE));
    let last = lines[3].len();
    assert!(is_intact(&log), "an untouched log is intact");
    let at = usize::from(u16::from_le_bytes([head[0], head[1]])) % (log.len() - last);
    let bit = head[2];
    log[at] ^= bit;
    assert_eq!(
        is_intact(&log),
        bit == 0,
        "byte {at} was changed by {bit:#x}"
    );
});
