//! `kubectl keystead doctor`: finds what is misconfigured, and what is about to go. It only reads. What your rights do not let it
//! see it says, and goes on.
//!
//! ```text
//! facts (all look-ups) ──► judge (pure) ──► findings ──► table or JSON, exit code
//! ```

mod facts;
mod judge;

use std::io::{self, Write};

use serde::Serialize;

pub(super) use self::facts::operator_namespace;
use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::output::{Format, Output, print_value, shown};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    /// The namespace that the operator runs in; found by itself where you may see it.
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,
    /// Say also what is as it should be.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    output: Output,
}

/// How bad a finding is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Not looked at, for want of a right.
    Skipped,
    /// It works, and something is to be decided or will end.
    Warning,
    /// It does not work.
    Problem,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    level: Level,
    message: String,
    /// What to do. Empty if nothing is to be done.
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'static str,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = args.connection.open().await?;
    let facts = facts::gather(&cluster, args.operator_namespace.as_deref()).await?;
    let findings = judge::judge(&facts);
    print(&findings, &args, &mut io::stdout().lock())?;
    Ok(exit(&findings))
}

fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Problem) => Exit::Error,
        Some(Level::Warning) => Exit::No,
        Some(Level::Ok | Level::Skipped) | None => Exit::Ok,
    }
}

fn print(findings: &[Finding], args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    match args.output.format {
        Format::Table => {
            let told = |finding: &&Finding| args.verbose || finding.level != Level::Ok;
            for finding in findings.iter().filter(told) {
                let (level, message) = (finding.level.as_str(), shown(&finding.message));
                writeln!(out, "{level:8}  {}: {message}", finding.check)?;
                if !finding.remedy.is_empty() {
                    writeln!(out, "          -> {}", finding.remedy)?;
                }
            }
            let count = |level| findings.iter().filter(|f| f.level == level).count();
            let [ok, skipped, warnings, problems] =
                [Level::Ok, Level::Skipped, Level::Warning, Level::Problem].map(count);
            writeln!(
                out,
                "{problems} problems, {warnings} warnings, {skipped} skipped, {ok} ok"
            )?;
        }
        Format::Name => {
            for finding in findings {
                writeln!(out, "{}", finding.check)?;
            }
        }
        format => {
            let value = serde_json::json!({ "findings": findings });
            print_value(out, &value, format)?;
        }
    }
    Ok(())
}
