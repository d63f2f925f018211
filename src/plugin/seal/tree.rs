//! Looks at entries that are in files: one manifest, or all below a folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::edit::File;
use super::keys::KeySource;
use super::verdict::Verdict;
use crate::crypto::SealingPublicKey;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::output::{Format, Output, Table, print_value};
use crate::sealing::Item;

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

/// What is said of an entry, or of a file that has none that can be told.
pub(super) struct Row {
    pub(super) file: String,
    pub(super) secret: String,
    pub(super) key: String,
    pub(super) status: String,
    /// Whether it is sealed as it should be.
    pub(super) current: bool,
}

impl Report {
    pub(super) async fn run(&self, out: &mut impl Write) -> Result<Exit, Failure> {
        let known = self.keys.known().await?;
        let mut rows = Vec::new();
        for path in files(&self.paths)? {
            let file = File::read(&path)?;
            rows.extend(inspect(&file, &known)?.into_iter().map(|(row, _)| row));
        }
        print(&rows, self.output.format, out)?;
        let all = rows.iter().all(|row| row.current);
        Ok(if all { Exit::Ok } else { Exit::No })
    }
}

/// Prints a table or an object; of format `name`, the files with something that is not as it should be.
pub(super) fn print(rows: &[Row], format: Format, out: &mut impl Write) -> Result<(), Failure> {
    match format {
        Format::Table => {
            let mut table = Table::new(&["FILE", "SECRET", "KEY", "STATUS"]);
            for row in rows {
                let (file, secret) = (row.file.clone(), row.secret.clone());
                table.push(vec![file, secret, row.key.clone(), row.status.clone()]);
            }
            table.print(out)?;
        }
        Format::Name => {
            for row in rows.iter().filter(|row| !row.current) {
                writeln!(out, "{}", row.file)?;
            }
        }
        format => {
            let shown = |row: &Row| {
                json!({
                    "file": row.file, "secret": row.secret, "key": row.key,
                    "current": row.current, "status": row.status,
                })
            };
            let shown: Vec<_> = rows.iter().map(shown).collect();
            print_value(out, &json!({ "entries": shown }), format)?;
        }
    }
    Ok(())
}

/// Says of every entry of a file what is wrong with it; the exit code is that of the first that has something.
pub(super) async fn validate(
    path: &Path,
    keys: &KeySource,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let known = keys.known().await?;
    let entries = inspect(&File::read(path)?, &known)?;
    if entries.is_empty() {
        return Err(Failure::new(
            Exit::NotFound,
            format!("{} has no ManagedSecret with spec.sealed", path.display()),
        ));
    }
    for (row, _) in &entries {
        writeln!(out, "{} {}: {}", row.secret, row.key, row.status)?;
    }
    let mut exits = entries.iter().map(|(_, verdict)| verdict.exit());
    Ok(exits.find(|exit| *exit != Exit::Ok).unwrap_or(Exit::Ok))
}

fn inspect(file: &File, known: &[SealingPublicKey]) -> Result<Vec<(Row, Verdict)>, Failure> {
    let inspected = found(file)?.into_iter().map(|found| {
        let Item { place, key, entry } = &found.item;
        let verdict = Verdict::on(entry, place, key, known);
        let current = verdict == Verdict::Current;
        (found.row(file, verdict.told(), current), verdict)
    });
    Ok(inspected.collect())
}

/// An entry in a file.
pub(super) struct Found {
    /// Which document of the file it is in.
    pub(super) document: usize,
    pub(super) item: Item,
}

impl Found {
    /// What is said of it.
    pub(super) fn row(&self, file: &File, status: String, current: bool) -> Row {
        let Item { place, key, .. } = &self.item;
        Row {
            file: file.path().display().to_string(),
            secret: format!("{}/{}", place.namespace, place.name),
            key: key.clone(),
            status,
            current,
        }
    }
}

/// All entries of a file.
pub(super) fn found(file: &File) -> Result<Vec<Found>, Failure> {
    let mut all = Vec::new();
    for (document, manifest) in file.documents().iter().enumerate() {
        if manifest.entries().next().is_none() {
            continue;
        }
        let place = manifest.place().map_err(|failure| {
            Failure::new(
                failure.exit,
                format!("{}: {}", file.path().display(), failure.message),
            )
        })?;
        all.extend(manifest.entries().map(|(key, entry)| Found {
            document,
            item: Item {
                place: place.clone(),
                key: key.to_owned(),
                entry: entry.to_owned(),
            },
        }));
    }
    Ok(all)
}

/// The files that are meant, each once and in a stable order.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
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
