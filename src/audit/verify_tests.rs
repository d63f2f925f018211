use proptest::prelude::*;
use proptest::sample::Index;

use super::super::chain::{Chain, Genesis, Resumed};
use super::super::record::{Entry, EventSource, Identity};
use super::*;

fn entry(name: &str) -> Entry {
    Entry::allowed(EventSource::Kms, name, Identity::secret("shop", "db"), "r")
}

fn genesis(resumes: Option<(Hash, u64)>) -> Genesis {
    Genesis {
        installation: "i".to_owned(),
        version: "0".to_owned(),
        resumes: resumes.map(|(hash, torn_bytes)| Resumed {
            hash: hash.to_string(),
            torn_bytes,
        }),
    }
}

/// The lines of one process, the first with that genesis.
fn process(id: &str, count: usize, genesis: &Genesis) -> (Vec<Vec<u8>>, Hash) {
    let mut chain = Chain::new(id.repeat(32), "pod".to_owned());
    let lines = (0..count).map(|number| {
        let mut line = Vec::new();
        let first = (number == 0).then_some(genesis);
        let name = if number == 0 {
            "StartAuditLog"
        } else {
            "Decrypt"
        };
        chain.append("2026-11-25T10:00:00Z", entry(name), first, &mut line);
        line
    });
    let lines = lines.collect();
    (lines, chain.last())
}

fn report<'a>(lines: impl IntoIterator<Item = &'a Vec<u8>>) -> Report {
    let mut verifier = Verifier::new(false);
    verifier.file("audit.log");
    for line in lines {
        verifier.line(line);
    }
    verifier.finish()
}

#[test]
fn an_untouched_log_of_several_processes_is_intact() {
    let (mut log, end) = process("a", 5, &genesis(None));
    let (next, end) = process("b", 5, &genesis(Some((end, 0))));
    log.extend(next);
    log.insert(3, b"{\"message\":\"of the log\"}\n".to_vec());
    let report = report(&log);
    assert!(report.is_intact() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.lines, report.others, report.chains), (10, 1, 2));
    assert_eq!(report.head, Some(end));
}

#[test]
fn the_line_and_the_kind_of_what_was_done_are_named() {
    let (log, _) = process("a", 6, &genesis(None));
    let found = |log: &[Vec<u8>]| {
        let problems = report(log).problems;
        problems
            .into_iter()
            .map(|f| (f.line, f.problem.unwrap()))
            .collect::<Vec<_>>()
    };
    let mut removed = log.clone();
    removed.remove(2);
    assert_eq!(
        found(&removed),
        [(3, Problem::Missing { first: 2, last: 2 })]
    );
    let mut beginning = log.clone();
    beginning.drain(..2);
    assert_eq!(
        found(&beginning),
        [(1, Problem::Missing { first: 0, last: 1 })]
    );
    let mut altered = log.clone();
    altered[2] = String::from_utf8(altered[2].clone())
        .unwrap()
        .replace("shop", "shed")
        .into();
    assert_eq!(found(&altered), [(3, Problem::Altered)]);
    let mut swapped = log.clone();
    swapped.swap(2, 3);
    assert_eq!(
        found(&swapped),
        [
            (3, Problem::Missing { first: 2, last: 2 }),
            (4, Problem::OutOfOrder)
        ]
    );
    let mut repeated = log.clone();
    repeated.insert(4, repeated[1].clone());
    assert_eq!(found(&repeated), [(5, Problem::OutOfOrder)]);
}

#[test]
fn a_line_that_was_replaced_with_a_right_hash_is_not_followed() {
    let (mut log, _) = process("a", 4, &genesis(None));
    let (other, _) = process("a", 2, &genesis(Some((Hash::ZERO, 0))));
    log[1].clone_from(&other[1]);
    let problems = report(&log).problems;
    assert!(
        problems
            .iter()
            .all(|f| f.problem == Some(Problem::Unlinked)),
        "{problems:?}"
    );
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn the_end_that_a_kill_tore_is_told_apart_from_what_somebody_did() {
    let (log, end) = process("a", 4, &genesis(None));
    let (next, _) = process("b", 3, &genesis(Some((end, 20))));
    let mut torn = log.clone();
    torn.push(log[3][..20].to_vec());
    let found = report(&torn);
    assert!(found.is_intact() && found.notes.len() == 1, "{found:?}");
    // The next process ends the torn line and says so.
    torn[4].push(b'\n');
    torn.extend(next.iter().cloned());
    let found = report(&torn);
    assert!(found.is_intact() && found.notes.len() == 1, "{found:?}");
    // Nobody says so: somebody made it.
    let (silent, _) = process("c", 2, &genesis(Some((end, 0))));
    let mut made = log.clone();
    made.push([&log[3][..20], b"\n"].concat());
    made.extend(silent);
    assert!(!report(&made).is_intact());
    // The last whole line was made to look torn: the next process remembers its hash.
    let mut cut = log.clone();
    cut[3].truncate(20);
    cut[3].push(b'\n');
    cut.extend(next);
    let problems = report(&cut).problems;
    assert_eq!(problems[0].problem, Some(Problem::OtherEnd), "{problems:?}");
}

#[test]
fn a_rotated_file_may_be_the_first_that_is_left_but_no_other_beginning() {
    let mut chain = Chain::new("a".repeat(32), "pod".to_owned());
    let mut lines = Vec::new();
    for name in ["StartAuditLog", "Decrypt", "RotateAuditLog", "Decrypt"] {
        let first = chain.is_empty().then(|| genesis(None));
        let mut line = Vec::new();
        chain.append(
            "2026-11-25T10:00:00Z",
            entry(name),
            first.as_ref(),
            &mut line,
        );
        lines.push(line);
    }
    let rotated = report(&lines[2..]);
    assert!(
        rotated.is_intact() && rotated.notes.len() == 1,
        "{rotated:?}"
    );
    assert!(!report(&lines[3..]).is_intact());
    let mut partial = Verifier::new(true);
    partial.line(&lines[3]);
    assert!(partial.finish().is_intact());
}

#[test]
fn what_is_wrong_more_often_than_anybody_reads_is_counted_and_not_kept() {
    let (log, end) = process("a", 2, &genesis(None));
    let half = [&log[1][..20], b"\n"].concat();
    let many = MAX_FINDINGS + 7;
    let broken = vec![half; many];
    let mut verifier = Verifier::new(false);
    for line in &broken {
        verifier.line(line);
    }
    assert_eq!(verifier.torn.len(), MAX_FINDINGS);
    let counted = |report: &Report| {
        let (problems, notes) = (report.problems.len(), report.notes.len());
        [(problems, report.more_problems), (notes, report.more_notes)]
    };
    let unexplained = [(MAX_FINDINGS, 7), (0, 0)];
    assert_eq!(counted(&verifier.finish()), unexplained);
    // A line that explains nothing comes after them, and one that does.
    let [mut silent, mut saying] = [0, 1].map(|torn| {
        let (next, _) = process("b", 1, &genesis(Some((end, torn))));
        [log.clone(), broken.clone(), next].concat()
    });
    assert_eq!(counted(&report(&silent)), unexplained);
    assert_eq!(counted(&report(&saying)), [(0, 0), (MAX_FINDINGS, 7)]);
    // And others that are found at once.
    let again = vec![log[1].clone(); 3];
    silent.extend(again.iter().cloned());
    assert_eq!(counted(&report(&silent))[0], (MAX_FINDINGS, 10));
    saying.extend(again);
    assert_eq!(counted(&report(&saying))[0], (3, 0));
}

fn shuffled_bytes(line: &[u8], at: Index, bit: u8) -> Vec<u8> {
    let mut line = line.to_vec();
    let at = at.index(line.len());
    line[at] ^= 1 << bit;
    line
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Of one chain with a line after it, or with its own bytes changed: everything but cutting the end off is found.
    #[test]
    fn any_line_removed_before_the_last_is_found(count in 2_usize..12, at in any::<Index>()) {
        let (mut log, _) = process("a", count, &genesis(None));
        log.remove(at.index(count - 1));
        prop_assert!(!report(&log).is_intact());
    }

    #[test]
    fn any_bit_that_is_flipped_is_found(count in 2_usize..8, at in any::<Index>(), byte in any::<Index>(), bit in 0_u8..8) {
        let (mut log, _) = process("a", count, &genesis(None));
        // The last line may turn into one of the log, as if it had been cut off.
        let at = at.index(count - 1);
        log[at] = shuffled_bytes(&log[at], byte, bit);
        let joined = log.concat();
        let lines: Vec<_> = joined.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        prop_assert!(!report(&lines).is_intact());
    }

    #[test]
    fn any_two_lines_that_are_swapped_are_found(count in 2_usize..10, one in any::<Index>(), away in any::<Index>()) {
        let (mut log, _) = process("a", count, &genesis(None));
        let one = one.index(count);
        let two = (one + 1 + away.index(count - 1)) % count;
        log.swap(one, two);
        prop_assert!(!report(&log).is_intact());
    }

    #[test]
    fn any_cut_in_the_middle_is_found(count in 3_usize..10, from in any::<Index>(), bytes in 1_usize..600) {
        let (log, _) = process("a", count, &genesis(None));
        let last = log[count - 1].len();
        let joined = log.concat();
        let from = from.index(joined.len() - last);
        let to = (from + bytes).min(joined.len() - last);
        let left = [&joined[..from], &joined[to..]].concat();
        let lines: Vec<_> = left.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        prop_assert!(!report(&lines).is_intact());
    }

    #[test]
    fn nothing_makes_the_verifier_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let _ = report(&lines);
    }
}
