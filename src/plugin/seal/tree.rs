//! Looks at entries that are in files: one manifest, or all below a folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::edit;
use super::keys::KeySource;
use super::place::Verdict;
use crate::crypto::SealingPublicKey;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::output::{Format, Output, Table, print_value};

/// How deep folders are looked into.
const MAX_DEPTH: usize = 32;

/// Arguments of `seal report`.
#[derive(Debug, clap::Args)]
pub(super) struct Report {
    /// Files and folders. Of folders the files *.yaml, *.yml and *.json, except for what begins with a dot.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeySource,
    #[command(flatten)]
    output: Output,
}

/// One entry that was found.
struct Entry {
    file: String,
    secret: String,
    key: String,
    verdict: Verdict,
}

impl Report {
    pub(super) async fn run(&self, out: &mut impl Write) -> Result<Exit, Failure> {
        let known = self.keys.known().await?;
        let mut entries = Vec::new();
        for path in files(&self.paths)? {
            entries.extend(inspect(&path, &known)?);
        }
        match self.output.format {
            Format::Table => {
                let mut table = Table::new(&["FILE", "SECRET", "KEY", "STATUS"]);
                for entry in &entries {
                    let (file, secret) = (entry.file.clone(), entry.secret.clone());
                    table.push(vec![file, secret, entry.key.clone(), entry.verdict.told()]);
                }
                table.print(out)?;
            }
            Format::Name => {
                for entry in entries
                    .iter()
                    .filter(|entry| entry.verdict != Verdict::Current)
                {
                    writeln!(out, "{}", entry.file)?;
                }
            }
            format => {
                let shown = |entry: &Entry| {
                    json!({
                        "file": entry.file, "secret": entry.secret, "key": entry.key,
                        "current": entry.verdict == Verdict::Current, "status": entry.verdict.told(),
                    })
                };
                let shown: Vec<_> = entries.iter().map(shown).collect();
                print_value(out, &json!({ "entries": shown }), format)?;
            }
        }
        let all = entries
            .iter()
            .all(|entry| entry.verdict == Verdict::Current);
        Ok(if all { Exit::Ok } else { Exit::No })
    }
}

/// Says of every entry of a file what is wrong with it; the exit code is that of the first that has something.
pub(super) async fn validate(
    path: &Path,
    keys: &KeySource,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let known = keys.known().await?;
    let entries = inspect(path, &known)?;
    if entries.is_empty() {
        return Err(Failure::new(
            Exit::NotFound,
            format!("{} has no ManagedSecret with spec.sealed", path.display()),
        ));
    }
    for entry in &entries {
        writeln!(
            out,
            "{} {}: {}",
            entry.secret,
            entry.key,
            entry.verdict.told()
        )?;
    }
    let mut exits = entries.iter().map(|entry| entry.verdict.exit());
    Ok(exits.find(|exit| *exit != Exit::Ok).unwrap_or(Exit::Ok))
}

fn inspect(path: &Path, known: &[SealingPublicKey]) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for document in edit::all(path)? {
        if document.entries().next().is_none() {
            continue;
        }
        let place = document.place().map_err(|failure| {
            Failure::new(
                failure.exit,
                format!("{}: {}", path.display(), failure.message),
            )
        })?;
        for (key, entry) in document.entries() {
            entries.push(Entry {
                file: path.display().to_string(),
                secret: format!("{}/{}", place.namespace, place.name),
                key: key.to_owned(),
                verdict: Verdict::on(entry, &place, key, known),
            });
        }
    }
    Ok(entries)
}

/// The files that are meant, each once and in a stable order.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let unreadable = |error: std::io::Error| {
            Failure::error(format!(
                "{} cannot be read: {}",
                path.display(),
                error.kind()
            ))
        };
        if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            below(path, 0, &mut found).map_err(unreadable)?;
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if depth == MAX_DEPTH {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // A link is not followed: it may lead back.
        let (kind, path) = (entry.file_type()?, entry.path());
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        if kind.is_dir() {
            below(&path, depth + 1, found)?;
        } else if kind.is_file() && ["yaml", "yml", "json"].contains(&extension) {
            found.push(path);
        }
    }
    Ok(())
}
