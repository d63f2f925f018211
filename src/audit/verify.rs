//! Finds what was removed from a log, altered in it or moved. Pure: lines in, findings out.
//!
//! Lines of several chains (replicas, restarts) may be mixed, and lines that are none of a trail may come between.

use std::collections::HashMap;
use std::fmt;

use super::chain::{Hash, Parsed, START, is_audit_line, parse};

/// Most chains of one log: every start of a process begins one.
const MAX_CHAINS: usize = 1_000_000;
/// Most findings that are kept; there is no end of what can be wrong with a file.
const MAX_FINDINGS: usize = 1000;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not what was written.
    Altered,
    /// It begins as a line of the trail, and is none.
    Malformed(String),
    /// Lines before it are missing: it has another number than the one that comes next.
    Missing {
        /// The first number that is missing.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// It comes after lines that were written later, or a second time.
    OutOfOrder,
    /// It does not name the line before it.
    Unlinked,
    /// It says that it goes on a log whose end is another than that which is there.
    OtherEnd,
    /// A line that must be there is not: the end of the log, or all of it, is another.
    NotThere(Hash),
    /// More chains than this program looks at.
    TooManyChains,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered => f.write_str("altered: its hash is not that of what it says"),
            Self::Malformed(why) => write!(f, "altered, or added: {why}"),
            Self::Missing { first, last } if first == last => {
                write!(
                    f,
                    "removed: line {first} of its chain should come before it"
                )
            }
            Self::Missing { first, last } => write!(
                f,
                "removed: lines {first} to {last} of its chain should come before it"
            ),
            Self::OutOfOrder => {
                f.write_str("moved, or repeated: later lines of its chain come before it")
            }
            Self::Unlinked => {
                f.write_str("altered, or replaced: it does not follow the line before it")
            }
            Self::OtherEnd => f.write_str(
                "removed, or altered: it goes on a log whose last line is not the one before it",
            ),
            Self::NotThere(hash) => write!(f, "removed: no line has the hash {hash}"),
            Self::TooManyChains => f.write_str("more chains than can be checked at once"),
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The number of the line in the file, from 1.
    pub line: u64,
    /// What is wrong; `None` for what is only worth knowing.
    pub problem: Option<Problem>,
    /// What is worth knowing.
    pub note: String,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whole lines of trails.
    pub lines: u64,
    /// Lines that are none of a trail.
    pub others: u64,
    /// Chains.
    pub chains: usize,
    /// What is wrong, in the order of the log.
    pub problems: Vec<Finding>,
    /// How many more problems there are, which are not kept.
    pub more_problems: u64,
    /// What is worth knowing and proves nothing.
    pub notes: Vec<Finding>,
    /// How many more notes there are, which are not kept.
    pub more_notes: u64,
    /// The hash of the last line: to be compared with one that was noted elsewhere.
    pub head: Option<Hash>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks a log, line by line.
#[derive(Debug)]
pub struct Verifier {
    report: Report,
    chains: HashMap<String, Expected>,
    /// What is begun in the middle is accepted: only a part of the log is there.
    partial: bool,
    file: String,
    number: u64,
    /// The last whole line of the trail in the order of the files.
    last: Option<Hash>,
    /// Broken lines that the next whole line may explain.
    torn: Vec<(Finding, bool)>,
    /// How many more of them there are, which are not kept.
    more_torn: u64,
    /// The hash of a line that is still missing.
    wanted: Option<Hash>,
}

/// What comes next in a chain.
#[derive(Debug)]
struct Expected {
    sequence: u64,
    previous: Hash,
}

impl Verifier {
    /// A verifier that has seen nothing. `partial`: chains may begin in the middle, because only a part of the log is given.
    pub fn new(partial: bool) -> Self {
        Self {
            report: Report::default(),
            chains: HashMap::new(),
            partial,
            file: String::new(),
            number: 0,
            last: None,
            torn: Vec::new(),
            more_torn: 0,
            wanted: None,
        }
    }

    /// A line with that hash must come.
    pub fn must_hold(&mut self, hash: Hash) {
        self.wanted = Some(hash);
    }

    /// The lines that follow are those of that file.
    pub fn file(&mut self, name: &str) {
        name.clone_into(&mut self.file);
        self.number = 0;
    }

    /// The next line, with its line break if it has one.
    pub fn line(&mut self, bytes: &[u8]) {
        self.number += 1;
        let (line, ended) = match bytes.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (bytes, false),
        };
        if !is_audit_line(line) {
            self.other(line, ended);
            return;
        }
        match parse(line) {
            Ok(parsed) => self.whole(&parsed),
            Err(error) => self.broken(error.to_string(), ended),
        }
    }

    /// Everything that was found.
    pub fn finish(mut self) -> Report {
        for (finding, ended) in std::mem::take(&mut self.torn) {
            if ended {
                self.keep_problem(finding);
            } else {
                self.keep_note(Finding {
                    problem: None,
                    note: "torn: the last line was not ended, as when its writer is killed; what it would have said was not \
                           done"
                        .to_owned(),
                    ..finding
                });
            }
        }
        // Only the last line of a file can be one that was not ended: these are others, or too many of them.
        self.report.more_problems += self.more_torn;
        if let Some(hash) = self.wanted {
            self.keep_problem(Finding {
                file: String::new(),
                line: 0,
                problem: Some(Problem::NotThere(hash)),
                note: String::new(),
            });
        }
        self.report.chains = self.chains.len();
        self.report.head = self.last;
        self.report
    }

    fn other(&mut self, line: &[u8], ended: bool) {
        let mark = START.as_bytes();
        if !ended && !line.is_empty() && mark.starts_with(line) {
            // The first bytes of a line of ours, and no more of it: torn as well.
            self.broken("it is only the beginning of a line".to_owned(), false);
        } else if line.windows(mark.len()).any(|window| window == mark) {
            // A line of ours that something was put before. The log escapes quotation marks.
            self.broken("a line begins in the middle of another".to_owned(), true);
        } else {
            self.report.others += 1;
        }
    }

    fn broken(&mut self, why: String, ended: bool) {
        if self.torn.len() < MAX_FINDINGS {
            let finding = self.finding(Some(Problem::Malformed(why)), String::new());
            self.torn.push((finding, ended));
        } else {
            self.more_torn += 1;
        }
    }

    fn whole(&mut self, parsed: &Parsed) {
        self.report.lines += 1;
        self.explain_torn(parsed);
        if parsed.claimed != parsed.computed {
            self.problem(Problem::Altered);
        }
        if parsed.line.genesis.is_some() || parsed.sequence == 0 {
            self.genesis(parsed);
        } else {
            self.follow(parsed);
        }
        self.last = Some(parsed.claimed);
        self.wanted = self.wanted.filter(|hash| *hash != parsed.computed);
        let next = Expected {
            sequence: parsed.sequence.saturating_add(1),
            previous: parsed.claimed,
        };
        if let Some(expected) = self.chains.get_mut(&parsed.chain) {
            // Never backwards: one line that was moved is one finding.
            if next.sequence >= expected.sequence {
                *expected = next;
            }
        } else if self.chains.len() < MAX_CHAINS {
            self.chains.insert(parsed.chain.clone(), next);
        } else {
            self.problem(Problem::TooManyChains);
        }
    }

    /// Broken lines are explained by a writer that says it found or left something torn.
    fn explain_torn(&mut self, parsed: &Parsed) {
        let genuine = parsed.claimed == parsed.computed;
        let resumes = parsed
            .line
            .genesis
            .as_ref()
            .and_then(|g| g.resumes.as_ref());
        let found_torn = resumes.is_some_and(|resumed| resumed.torn_bytes > 0);
        let left_torn = parsed.line.entry.event_name == "ResumeAuditLog";
        let explained = genuine && (found_torn || left_torn);
        let more = std::mem::take(&mut self.more_torn);
        if explained {
            self.report.more_notes += more;
        } else {
            self.report.more_problems += more;
        }
        for (finding, _) in std::mem::take(&mut self.torn) {
            if explained {
                let note =
                    "torn: its writer was killed, or could not write it; the line after it says so"
                        .to_owned();
                self.keep_note(Finding {
                    problem: None,
                    note,
                    ..finding
                });
            } else {
                self.keep_problem(finding);
            }
        }
    }

    fn genesis(&mut self, parsed: &Parsed) {
        if self.chains.contains_key(&parsed.chain) {
            self.problem(Problem::OutOfOrder);
            return;
        }
        if parsed.sequence != 0 || parsed.previous != Hash::ZERO || parsed.line.genesis.is_none() {
            self.problem(Problem::Unlinked);
        }
        let resumes = parsed
            .line
            .genesis
            .as_ref()
            .and_then(|g| g.resumes.as_ref());
        let Some(resumed) = resumes else { return };
        match self.last {
            Some(last) if last.to_string() != resumed.hash => self.problem(Problem::OtherEnd),
            Some(_) => {}
            None => self.note(format!(
                "goes on an older log, which is not given and ends with {}",
                resumed.hash
            )),
        }
    }

    fn follow(&mut self, parsed: &Parsed) {
        let Some(expected) = self.chains.get(&parsed.chain) else {
            let rotated =
                parsed.line.entry.event_name == "RotateAuditLog" && self.report.lines == 1;
            if self.partial || rotated {
                let note = format!(
                    "begins with line {} of its chain; what came before is not given",
                    parsed.sequence
                );
                self.note(note);
            } else {
                self.problem(Problem::Missing {
                    first: 0,
                    last: parsed.sequence.saturating_sub(1),
                });
            }
            return;
        };
        if parsed.sequence > expected.sequence {
            let (first, last) = (expected.sequence, parsed.sequence - 1);
            self.problem(Problem::Missing { first, last });
        } else if parsed.sequence < expected.sequence {
            self.problem(Problem::OutOfOrder);
        } else if parsed.previous != expected.previous {
            self.problem(Problem::Unlinked);
        }
    }

    fn finding(&self, problem: Option<Problem>, note: String) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.number,
            problem,
            note,
        }
    }

    fn problem(&mut self, problem: Problem) {
        let finding = self.finding(Some(problem), String::new());
        self.keep_problem(finding);
    }

    fn note(&mut self, note: String) {
        let finding = self.finding(None, note);
        self.keep_note(finding);
    }

    fn keep_problem(&mut self, finding: Finding) {
        if self.report.problems.len() < MAX_FINDINGS {
            self.report.problems.push(finding);
        } else {
            self.report.more_problems += 1;
        }
    }

    fn keep_note(&mut self, finding: Finding) {
        if self.report.notes.len() < MAX_FINDINGS {
            self.report.notes.push(finding);
        } else {
            self.report.more_notes += 1;
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
