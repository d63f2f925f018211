//! Opens entries offline, with exported private keys, by the checks of the operator: for the day when the cluster is gone.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::edit::File;
use super::keys::private;
use super::tree::{found, print};
use super::verdict::Verdict;
use crate::crypto::{SealingKeys, SecretBytes};
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::output::{Format, Output, print_value};
use crate::sealing::{self, Item, Place};

/// Arguments of `seal open`.
#[derive(Debug, clap::Args)]
pub(super) struct Open {
    /// The manifest of the `ManagedSecret`.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The private keys of `keystead sealing export`; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    private_key: PathBuf,
    /// Name of the `ManagedSecret`, if there are several in the file.
    #[arg(long)]
    name: Option<String>,
    /// Print the values, as the manifest of a native Secret (YAML, or JSON by -o). Without it, say only whether each entry opens.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: Output,
}

impl Open {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<Exit, Failure> {
        let keys = private(&self.private_key)?;
        let file = File::read(&self.file)?;
        let at = file.only(self.name.as_deref())?;
        let mut entries = found(&file)?;
        entries.retain(|found| found.document == at);
        let Some(place) = entries.first().map(|first| first.item.place.clone()) else {
            let shown = self.file.display();
            let message = format!("the ManagedSecret of {shown} has no spec.sealed");
            return Err(Failure::new(Exit::NotFound, message));
        };
        let (mut rows, mut values, mut exit) = (Vec::new(), BTreeMap::new(), Exit::Ok);
        for found in entries {
            match opened(&found.item, &keys) {
                Ok(value) => {
                    rows.push(found.row(&file, "opens".to_owned(), true));
                    values.insert(found.item.key, value);
                }
                Err(verdict) if self.reveal => {
                    let key = &found.item.key;
                    let message = format!("key {key} of spec.sealed: {}", verdict.told());
                    return Err(Failure::new(verdict.exit(), message));
                }
                Err(verdict) => {
                    rows.push(found.row(&file, verdict.told(), false));
                    exit = if exit == Exit::Ok {
                        verdict.exit()
                    } else {
                        exit
                    };
                }
            }
        }
        if self.reveal {
            reveal(&place, &values, self.output.format, out)?;
        } else {
            print(&rows, self.output.format, out)?;
        }
        Ok(exit)
    }
}

fn opened(item: &Item, keys: &SealingKeys) -> Result<SecretBytes, Verdict> {
    let Item { place, key, entry } = item;
    match Verdict::fitting(entry, place, key) {
        // These keys do not open it, so it cannot be left aside.
        Err(Verdict::UnderManagedKey) => Err(Verdict::Refused(sealing::Refusal::KeyMissing)),
        Err(verdict) => Err(verdict),
        Ok(_) => sealing::open(entry, place, key, keys).map_err(Verdict::Refused),
    }
}

/// Prints the values, as what `kubectl apply` takes.
fn reveal(
    place: &Place,
    values: &BTreeMap<String, SecretBytes>,
    format: Format,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let format = match format {
        Format::Table | Format::Yaml => Format::Yaml,
        Format::Json => Format::Json,
        Format::Name => {
            return Err(Failure::error(
                "-o name shows no values: take another format, or leave --reveal out",
            ));
        }
    };
    let data = values.iter();
    let data: BTreeMap<_, _> = data
        .map(|(key, value)| (key, STANDARD.encode(value.expose())))
        .collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "data": data,
    });
    print_value(out, &secret, format)
}
