//! `keystead audit`: checks the logs that the trail wrote, and asks them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::words::{duration, is_closed};
use crate::audit::{Finding, Hash, KeyQuery, MAX_LINE, Report, UsedBy, Users, Verifier};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Find what was removed from an audit log, altered in it or moved. Exit code 0: nothing was; 1: something was; 2: a
    /// file cannot be read.
    Verify(Verify),
    /// List who used a key, or tried.
    WhoUsed(WhoUsed),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The files, oldest first; `-` is standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// Only a part of a log is given: chains may begin in the middle.
    #[arg(long)]
    partial: bool,
    /// The hash of a line that the log must hold: one that was noted before, so that nobody can cut it off.
    #[arg(long, value_name = "HASH")]
    must_hold: Option<Hash>,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct WhoUsed {
    /// The key: its id, its ARN, or namespace/name.
    key: KeyQuery,
    /// Since when: a time (RFC 3339), or how long ago (`90m`, `24h`, `7d`).
    #[arg(long, value_name = "T", value_parser = since)]
    since: Since,
    /// The files, in any order; `-` is standard input.
    #[arg(default_value = "-")]
    files: Vec<String>,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// JSON.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    At(Timestamp),
    Ago(SignedDuration),
}

/// The exit code when a file cannot be read.
const UNREADABLE: u8 = 2;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let code = match &args.command {
        Command::Verify(verify) => verify.run(&mut out),
        Command::WhoUsed(who) => who.run(&mut out).map(|()| ExitCode::SUCCESS),
    };
    code.or_else(|error| {
        if is_closed(&error) {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("error: {error:#}");
        Ok(ExitCode::from(UNREADABLE))
    })
}

impl Verify {
    fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut verifier = Verifier::new(self.partial);
        if let Some(hash) = self.must_hold {
            verifier.must_hold(hash);
        }
        for file in &self.files {
            verifier.file(file);
            each_line(file, |line| verifier.line(line))?;
        }
        let report = verifier.finish();
        match self.output {
            Output::Text => print_report(out, &report)?,
            Output::Json => print_json(out, &report)?,
        }
        Ok(if report.is_intact() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn print_report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for finding in &report.problems {
        writeln!(out, "{}", told(finding))?;
    }
    more(out, report.more_problems, "problems")?;
    for finding in &report.notes {
        writeln!(out, "note: {}", told(finding))?;
    }
    more(out, report.more_notes, "notes")?;
    let result = match report.problems.len() as u64 + report.more_problems {
        0 => "intact".to_owned(),
        1 => "NOT INTACT: 1 problem".to_owned(),
        number => format!("NOT INTACT: {number} problems"),
    };
    let (lines, chains) = (report.lines, report.chains);
    writeln!(
        out,
        "{result}; {lines} lines in {chains} chains, {} other lines",
        report.others
    )?;
    match report.head {
        Some(head) => writeln!(out, "last line: {head}"),
        None => Ok(()),
    }
}

/// Says how many more there are than are listed.
fn more(out: &mut impl Write, number: u64, what: &str) -> io::Result<()> {
    match number {
        0 => Ok(()),
        number => writeln!(out, "... and {number} more {what}"),
    }
}

fn told(finding: &Finding) -> String {
    let what = match &finding.problem {
        Some(problem) => problem.to_string(),
        None => finding.note.clone(),
    };
    match finding.line {
        0 => what,
        line => format!("{}:{line}: {what}", finding.file),
    }
}

fn print_json(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    let findings = |findings: &[Finding]| -> Vec<_> {
        let told = |f: &Finding| match &f.problem {
            Some(problem) => problem.to_string(),
            None => f.note.clone(),
        };
        findings
            .iter()
            .map(|f| json!({ "file": f.file, "line": f.line, "message": told(f) }))
            .collect()
    };
    let report = json!({
        "intact": report.is_intact(),
        "lines": report.lines,
        "chains": report.chains,
        "otherLines": report.others,
        "problems": findings(&report.problems),
        "moreProblems": report.more_problems,
        "notes": findings(&report.notes),
        "moreNotes": report.more_notes,
        "head": report.head.map(|hash| hash.to_string()),
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    Ok(writeln!(out)?)
}

impl WhoUsed {
    fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let since = match self.since {
            Since::At(time) => time,
            Since::Ago(ago) => Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN),
        };
        let mut users = Users::new(self.key.clone(), since);
        for file in &self.files {
            each_line(file, |line| users.line(line))?;
        }
        let users = users.finish();
        match self.output {
            Output::Text => print_users(out, &users)?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut *out, &users)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

fn print_users(out: &mut impl Write, users: &[UsedBy]) -> io::Result<()> {
    if users.is_empty() {
        return writeln!(out, "nobody used it in that time, by these logs");
    }
    let mut rows =
        vec![["LAST", "USER", "VIA", "OPERATION", "DECISION", "COUNT"].map(str::to_owned)];
    for used in users {
        let decision = match &used.error_code {
            Some(code) => format!("{:?} ({code})", used.decision),
            None => format!("{:?}", used.decision),
        };
        let via = used.via.clone().unwrap_or_default();
        let (last, user, event) = (&used.last, &used.user, &used.event_name);
        rows.push([
            last.clone(),
            user.clone(),
            via,
            event.clone(),
            decision,
            used.count.to_string(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3, 4].map(|column| width(column).unwrap_or_default());
    for row in &rows {
        let cells = row.iter().zip(widths.iter().chain([&0]));
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

/// Hands over every line of a file with its line break. One that is longer than any line of ours is cut: it is none.
fn each_line(file: &str, mut line: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let reader: Box<dyn Read> = if file == "-" {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(Path::new(file));
        Box::new(opened.with_context(|| format!("cannot open {file}"))?)
    };
    let mut reader = BufReader::new(reader);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let read = (&mut reader)
            .take(MAX_LINE as u64 + 1)
            .read_until(b'\n', &mut buffer);
        if read.with_context(|| format!("cannot read {file}"))? == 0 {
            return Ok(());
        }
        line(&buffer);
    }
}

fn since(text: &str) -> anyhow::Result<Since> {
    if let Ok(time) = text.parse() {
        return Ok(Since::At(time));
    }
    match duration(text) {
        Ok(ago) => Ok(Since::Ago(ago)),
        Err(_) => bail!("give a time such as 2026-11-01T00:00:00Z, or 90m, 24h, 7d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let time = "2026-11-01T00:00:00Z";
        assert_eq!(since(time).unwrap(), Since::At(time.parse().unwrap()));
        let day = Since::Ago(SignedDuration::from_hours(24));
        assert_eq!((since("1d").unwrap(), since("24h").unwrap()), (day, day));
        for bad in ["", "d", "7w", "-3h", "é", "yesterday"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
