//! `kubectl keystead seal`: encrypts values before they reach Git, with a public key and without a cluster. Only the installation
//! that has the private key opens them, and only at the place that they were sealed for.

mod edit;
mod keys;
mod open;
mod operator;
mod reseal;
mod tree;
mod verdict;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use self::keys::KeySource;
use super::connection::Connection;
use super::exit::{Exit, Failure};
use super::manifest::{SecretManifest, parse, read};
use super::output::{Format, print_value};
use crate::cli::words::pair;
use crate::crypto::{OsRandom, SealingPublicKey, SecretBytes, seal_to};
use crate::sealing::{Place, Scope};
use crate::secrets::value::{MAX_PLAINTEXT, check_key_name};

/// Arguments of `seal`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    seal: Seal,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the entries below files and folders, and whether each is sealed under the active key. Exit code 1: some are not.
    Report(tree::Report),
    /// Seal the entries below files and folders anew that are not sealed for exactly the wanted public keys: give a --recipient for
    /// every further installation that shall open them. Nothing else of a file is touched. Without --private-key the operator does it,
    /// which needs the right to exec into its pod.
    Reseal(reseal::Reseal),
    /// Open the entries of a manifest offline, with exported private keys, for the day when the cluster is gone.
    Open(open::Open),
    /// Print the installation's public keys, the active one first: keep them in a file.
    FetchKey(FetchKey),
}

#[derive(Debug, clap::Args)]
struct FetchKey {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct Seal {
    /// What is sealed: a Secret manifest, as YAML or JSON; with --validate, the `ManagedSecret` to look at. `-`, the default, is
    /// standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A key whose value is the content of a file, in the place of a manifest; can be given several times.
    #[arg(long, value_name = "KEY=FILE", value_parser = pair, conflicts_with = "file")]
    from_file: Vec<(String, String)>,
    #[command(flatten)]
    keys: KeySource,
    /// Where an entry opens: under its own name, or under any name of the namespace.
    #[arg(long, value_enum, default_value_t)]
    scope: Scope,
    /// A pair of the secret's encryption context; can be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    encryption_context: Vec<(String, String)>,
    /// Name of the `ManagedSecret`; default that of the manifest.
    #[arg(long)]
    name: Option<String>,
    /// Its namespace; default that of the manifest.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Put the entries into this manifest of the `ManagedSecret`. Nothing else of the file is touched.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "validate"])]
    merge_into: Option<PathBuf>,
    /// Print the entry of the only key, and nothing around it.
    #[arg(long, conflicts_with = "validate")]
    raw: bool,
    /// Look at entries in the place of making some: whether each is whole, and for this place and these keys.
    #[arg(long, conflicts_with = "from_file")]
    validate: bool,
    /// How the manifest is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match args.command {
        None if args.seal.validate => {
            tree::validate(&args.seal.input(), &args.seal.keys, &mut out).await
        }
        None => args.seal.run(&mut out).await,
        Some(Command::Report(report)) => report.run(&mut out).await,
        Some(Command::Reseal(reseal)) => reseal.run(&mut out).await,
        Some(Command::Open(open)) => open.run(&mut out),
        Some(Command::FetchKey(fetch)) => {
            let keys = keys::published(&fetch.connection.open().await?).await?;
            for key in keys {
                writeln!(out, "{key}")?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// What is to be sealed, and what is known of its place.
struct Input {
    name: Option<String>,
    namespace: Option<String>,
    type_: Option<String>,
    entries: BTreeMap<String, SecretBytes>,
}

impl Seal {
    fn input(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| PathBuf::from("-"))
    }

    async fn run(&self, out: &mut impl Write) -> Result<Exit, Failure> {
        let target = match &self.merge_into {
            Some(path) => {
                let file = edit::File::read(path)?;
                Some((file.only(self.name.as_deref())?, file))
            }
            None => None,
        };
        let input = self.read()?;
        let place = self.place(
            &input,
            target.as_ref().map(|(at, file)| &file.documents()[*at]),
        )?;
        let recipients = self.keys.recipients().await?;
        let sealed = sealed(&input.entries, &place, self.scope, &recipients)?;
        if let Some((at, mut file)) = target {
            file.set(at, &sealed)?;
            file.write()?;
            let (count, file) = (sealed.len(), file.path().display());
            writeln!(out, "{count} entries sealed into {file}")?;
            return Ok(Exit::Ok);
        }
        if self.raw {
            let mut entries = sealed.values();
            let (Some(entry), None) = (entries.next(), entries.next()) else {
                return Err(Failure::error(
                    "--raw prints one entry, and there are several keys: give one with --from-file",
                ));
            };
            writeln!(out, "{entry}")?;
            return Ok(Exit::Ok);
        }
        print_value(
            out,
            &manifest(&place, &sealed, input.type_.as_deref()),
            self.output,
        )?;
        Ok(Exit::Ok)
    }

    fn read(&self) -> Result<Input, Failure> {
        if self.from_file.is_empty() {
            let path = self.input();
            let manifest: SecretManifest = parse(&path, &read(&path)?, "Secret")?;
            return Ok(Input {
                name: manifest.metadata.name.clone(),
                namespace: manifest.metadata.namespace.clone(),
                type_: manifest.type_.clone(),
                entries: manifest.entries()?,
            });
        }
        let mut entries = BTreeMap::new();
        for (key, path) in &self.from_file {
            if entries
                .insert(key.clone(), read(Path::new(path))?)
                .is_some()
            {
                return Err(Failure::error(format!("the key {key} is given twice")));
            }
        }
        Ok(Input {
            name: None,
            namespace: None,
            type_: None,
            entries,
        })
    }

    /// Where the entries will be. What the command line, the Secret and the file to merge into say must agree.
    fn place(&self, input: &Input, target: Option<&edit::Document>) -> Result<Place, Failure> {
        let target = target.map(edit::Document::place).transpose()?;
        let told = |flag: &Option<String>, file: &Option<String>, merge: Option<&String>, what| {
            let told = flag.as_ref().or(merge).or(file.as_ref()).cloned();
            let differ = flag
                .as_ref()
                .zip(merge)
                .is_some_and(|(flag, merge)| flag != merge);
            match told {
                _ if differ => Err(Failure::error(format!(
                    "--{what} is another than in the file of --merge-into"
                ))),
                Some(told) => Ok(told),
                None => Err(Failure::error(format!(
                    "the {what} is not known, and an entry opens only under it: give --{what}"
                ))),
            }
        };
        let merge = target.as_ref();
        let mut place = Place {
            namespace: told(
                &self.namespace,
                &input.namespace,
                merge.map(|place| &place.namespace),
                "namespace",
            )?,
            name: told(
                &self.name,
                &input.name,
                merge.map(|place| &place.name),
                "name",
            )?,
            context: merge.map(|place| place.context.clone()).unwrap_or_default(),
        };
        for (key, value) in &self.encryption_context {
            let other = place.context.insert(key.clone(), value.clone());
            if merge.is_some() && other.as_ref() != Some(value) {
                return Err(Failure::error(format!(
                    "the file of --merge-into has no pair {key}={value} in its spec.encryptionContext"
                )));
            }
        }
        Ok(place)
    }
}

/// The entries, as they are written into `spec.sealed`.
fn sealed(
    entries: &BTreeMap<String, SecretBytes>,
    place: &Place,
    scope: Scope,
    recipients: &[SealingPublicKey],
) -> Result<BTreeMap<String, String>, Failure> {
    if entries.is_empty() {
        return Err(Failure::error(
            "there is nothing to seal: the Secret has no keys",
        ));
    }
    let mut sealed = BTreeMap::new();
    for (key, value) in entries {
        check_key_name(key).map_err(|error| Failure::error(error.to_string()))?;
        if value.len() > MAX_PLAINTEXT {
            return Err(Failure::error(format!(
                "the value of {key} has more than {MAX_PLAINTEXT} bytes"
            )));
        }
        let context = place.context(scope, key);
        let context =
            context.map_err(|error| Failure::error(format!("encryption context: {error}")))?;
        let entry = seal_to(value.expose(), &context, recipients, &mut OsRandom);
        let entry = entry.map_err(|error| Failure::error(format!("seal {key}: {error}")))?;
        sealed.insert(key.clone(), STANDARD.encode(entry));
    }
    Ok(sealed)
}

/// A `ManagedSecret` with these entries. Of the Secret's metadata only the name is taken: annotations may hold its values.
fn manifest(place: &Place, sealed: &BTreeMap<String, String>, type_: Option<&str>) -> Value {
    let mut spec = json!({ "sealed": sealed });
    if !place.context.is_empty() {
        spec["encryptionContext"] = json!(place.context);
    }
    if let Some(type_) = type_.filter(|type_| *type_ != "Opaque") {
        // Another type is for what reads the Secret itself, and that needs it plain.
        let source = |key: &String| (key.clone(), json!(format!("[[ keys[\"{key}\"] ]]")));
        let data: serde_json::Map<_, _> = sealed.keys().map(source).collect();
        spec["template"] = json!({"type": type_, "data": data});
        spec["target"] = json!({"form": "Plain"});
    }
    json!({
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "ManagedSecret",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests;
