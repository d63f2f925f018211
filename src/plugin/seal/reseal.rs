//! Seals what is in a tree of files anew, for other public keys: the newer one after a rotation, or those of another cluster.
//! Values, scopes and everything else of the files stay.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use super::edit::File;
use super::keys::{KeySource, private};
use super::operator::Operator;
use super::tree::{Found, Row, files, found, print};
use super::verdict::Verdict;
use crate::crypto::{InstallationId, OsRandom, SealedInfo, SealingKeys, SealingPublicKey};
use crate::plugin::doctor::operator_namespace;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::output::Output;
use crate::sealing::{Answers, Item, resealed};

/// Arguments of `seal reseal`.
#[derive(Debug, clap::Args)]
pub(super) struct Reseal {
    /// Files and folders. Of folders the files *.yaml, *.yml and *.json, except for what begins with a dot.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeySource,
    /// The private keys of `keystead sealing export`, to open the entries here and not in the operator's pod; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// Open and seal everything, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// The namespace that the operator runs in; found by itself where you may see it.
    #[arg(long, value_name = "NAME", conflicts_with = "private_key")]
    operator_namespace: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Reseal {
    pub(super) async fn run(&self, out: &mut impl Write) -> Result<Exit, Failure> {
        let recipients = self.keys.recipients().await?;
        let opener = self.opener().await?;
        let paths = files(&self.paths)?;
        let mut works: Vec<_> = paths
            .into_iter()
            .map(|path| Work::look(path, &recipients))
            .collect();
        let wanted = works.iter().flat_map(Work::wanted).collect();
        let mut answers = opener.reseal(wanted, &recipients).await?.into_iter();
        for work in &mut works {
            work.take(&mut answers);
        }
        let done: Vec<_> = works
            .into_iter()
            .map(|work| work.finish(self.dry_run))
            .collect();
        let failed: Vec<_> = done.iter().filter_map(|done| done.failed).collect();
        let rows: Vec<_> = done.into_iter().flat_map(|done| done.rows).collect();
        print(&rows, self.output.format, out)?;
        let Some(first) = failed.first() else {
            return Ok(Exit::Ok);
        };
        let count = failed.len();
        Err(Failure::new(
            *first,
            format!("{count} files stay as they were: the list says which entry, and why"),
        ))
    }

    async fn opener(&self) -> Result<Opener, Failure> {
        if let Some(file) = &self.private_key {
            return Ok(Opener::Here(private(file)?));
        }
        let namespace = match &self.operator_namespace {
            Some(namespace) => namespace.clone(),
            None => operator_namespace(&self.keys.connection().open().await?.client).await,
        };
        Ok(Opener::Operator(Operator {
            connection: self.keys.for_kubectl(),
            namespace,
        }))
    }
}

/// Who has the private keys.
enum Opener {
    /// This process.
    Here(SealingKeys),
    /// The operator.
    Operator(Operator),
}

impl Opener {
    async fn reseal(
        &self,
        items: Vec<Item>,
        recipients: &[SealingPublicKey],
    ) -> Result<Answers, Failure> {
        match self {
            Self::Here(keys) => Ok(resealed(&items, keys, recipients, &mut OsRandom)),
            Self::Operator(operator) => operator.reseal(items, recipients).await,
        }
    }
}

/// A file that is worked on.
struct Work {
    path: PathBuf,
    /// What is in it, if it can be read.
    file: Result<(File, Vec<(Found, State)>), Failure>,
}

/// How far an entry is.
enum State {
    /// Sealed for exactly the wanted keys.
    Right,
    /// Under a `ManagedKey`, which is another matter.
    Left,
    /// To be sealed anew; these installations open it then no more.
    Wanted(Vec<InstallationId>),
    /// Sealed anew, and not written yet.
    Sealed(String, Vec<InstallationId>),
    /// Not opened.
    Refused(Verdict),
}

/// What became of a file.
struct Done {
    rows: Vec<Row>,
    /// The exit code, if it was not written and should have been.
    failed: Option<Exit>,
}

impl State {
    /// In words, and whether it is now as it should be.
    fn told(&self, failure: Option<&Failure>, dry_run: bool) -> (String, bool) {
        match (self, failure) {
            (Self::Right, _) => (Verdict::Current.told(), true),
            (Self::Left, _) => (Verdict::UnderManagedKey.told(), false),
            (Self::Refused(verdict), _) => (verdict.told(), false),
            (Self::Wanted(_) | Self::Sealed(..), Some(failure)) => (failure.message.clone(), false),
            (Self::Wanted(left_out) | Self::Sealed(_, left_out), None) => {
                let told = if dry_run {
                    "would be sealed anew"
                } else {
                    "sealed anew"
                };
                let left_out = left_out
                    .iter()
                    .map(|id| format!("; installation {id} does not open it any more"));
                let told = std::iter::once(told.to_owned()).chain(left_out);
                (told.collect(), !dry_run)
            }
        }
    }

    fn of(item: &Item, recipients: &[SealingPublicKey]) -> Self {
        match Verdict::fitting(&item.entry, &item.place, &item.key) {
            Ok(info) if is_for(&info, recipients) => Self::Right,
            Ok(info) => Self::Wanted(left_out(&info, recipients)),
            Err(Verdict::UnderManagedKey) => Self::Left,
            Err(verdict) => Self::Refused(verdict),
        }
    }
}

/// Whether an entry says that it is sealed for these, and for nobody else.
fn is_for(info: &SealedInfo, recipients: &[SealingPublicKey]) -> bool {
    let has = |key: &SealingPublicKey| info.recipients.contains(&key.recipient());
    info.recipients.len() == recipients.len() && recipients.iter().all(has)
}

/// The installations that open an entry now, and would not if it were for these.
fn left_out(info: &SealedInfo, recipients: &[SealingPublicKey]) -> Vec<InstallationId> {
    let now = info.recipients.iter().map(|now| now.installation);
    let stays = |id: &InstallationId| recipients.iter().any(|key| key.installation() == *id);
    let left: BTreeSet<_> = now.filter(|id| !stays(id)).collect();
    left.into_iter().collect()
}

impl Work {
    fn look(path: PathBuf, recipients: &[SealingPublicKey]) -> Self {
        let file = File::read(&path).and_then(|file| {
            let found = found(&file)?.into_iter().map(|found| {
                let state = State::of(&found.item, recipients);
                (found, state)
            });
            let found = found.collect();
            Ok((file, found))
        });
        Self { path, file }
    }

    /// What is to be sealed anew.
    fn wanted(&self) -> impl Iterator<Item = Item> {
        let entries = self.file.iter().flat_map(|(_, entries)| entries);
        let wanted = entries.filter(|(_, state)| matches!(state, State::Wanted(_)));
        wanted.map(|(found, _)| found.item.clone())
    }

    /// Takes the answers for what [`Self::wanted`] said, in that order.
    fn take(&mut self, answers: &mut impl Iterator<Item = <Answers as IntoIterator>::Item>) {
        let entries = self.file.iter_mut().flat_map(|(_, entries)| entries);
        let wanted = entries.filter(|(_, state)| matches!(state, State::Wanted(_)));
        for ((_, state), answer) in wanted.zip(answers) {
            let State::Wanted(left_out) = state else {
                continue;
            };
            *state = match answer {
                Ok(entry) => State::Sealed(entry, std::mem::take(left_out)),
                Err(refusal) => State::Refused(Verdict::Refused(refusal)),
            };
        }
    }

    /// Writes the file, if something of it is new and nothing was refused.
    fn finish(self, dry_run: bool) -> Done {
        let (mut file, entries) = match self.file {
            Ok(read) => read,
            Err(failure) => {
                let row = Row {
                    file: self.path.display().to_string(),
                    secret: String::new(),
                    key: String::new(),
                    status: failure.message,
                    current: false,
                };
                return Done {
                    rows: vec![row],
                    failed: Some(failure.exit),
                };
            }
        };
        let written = write(&mut file, &entries, dry_run);
        let row = |(found, state): &(Found, State)| {
            let (status, current) = state.told(written.as_ref().err(), dry_run);
            found.row(&file, status, current)
        };
        Done {
            rows: entries.iter().map(row).collect(),
            failed: written.err().map(|failure| failure.exit),
        }
    }
}

/// Writes what is new into the file, all of it or nothing.
fn write(file: &mut File, entries: &[(Found, State)], dry_run: bool) -> Result<(), Failure> {
    let mut documents: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
    for (found, state) in entries {
        match state {
            State::Refused(verdict) => {
                return Err(Failure::new(
                    verdict.exit(),
                    "not written, since another entry of the file does not open",
                ));
            }
            State::Sealed(entry, _) => {
                let document = documents.entry(found.document).or_default();
                document.insert(found.item.key.clone(), entry.clone());
            }
            State::Right | State::Left | State::Wanted(_) => {}
        }
    }
    for (document, entries) in &documents {
        file.set(*document, entries)?;
    }
    if dry_run || documents.is_empty() {
        return Ok(());
    }
    file.write()
}

#[cfg(test)]
#[path = "reseal_tests.rs"]
mod tests;
