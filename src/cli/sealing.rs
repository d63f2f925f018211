//! `keystead sealing`: what only the private sealing keys can do, for administrators. It runs beside the operator, in its pod or
//! wherever the root key is, and changes nothing in the cluster.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::process;
use super::root_args::RootArgs;
use crate::calling::answered;
use crate::crypto::OsRandom;
use crate::installation;
use crate::keys::{SealingKey, roots_of, sealing_key_id};
use crate::roots::Providers;
use crate::sealing::{Request, export};
use crate::truth::KeyMaterials;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The operator's namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "keystead-system")]
    operator_namespace: String,
    #[command(flatten)]
    root: RootArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Seal entries anew for other public keys: a request of `kubectl keystead seal reseal` on standard input. No private key and
    /// no value leaves this process.
    Reseal,
    /// Print the private sealing keys, all of them. Whoever has them opens everything that was ever sealed for this installation.
    Export(Export),
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Print them although standard output is a terminal.
    #[arg(long)]
    to_terminal: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Reseal => reseal(&args.load().await?),
        Command::Export(export) => {
            if io::stdout().is_terminal() && !export.to_terminal {
                bail!(
                    "standard output is a terminal, which may remember the keys: write them into a file (umask 077; keystead \
                     sealing export > sealing.keys), or give --to-terminal"
                );
            }
            print(&args.load().await?)
        }
    }
}

impl Args {
    /// The sealing keys, opened as the operator opens them.
    async fn load(&self) -> anyhow::Result<SealingKey> {
        let client = process::client().await?;
        let namespace = &self.operator_namespace;
        let roots = Providers::new(&self.root.config(), client.clone(), namespace);
        let installation = installation::find(client.clone(), namespace, roots).await?;
        let id = sealing_key_id(installation.id).to_string();
        let materials = KeyMaterials::new(client, namespace);
        let truth = answered(materials.get(&id)).await;
        let truth = truth.with_context(|| format!("get KeyMaterial {id}"))?;
        let truth = truth.with_context(|| {
            format!("KeyMaterial {id} is not there: the controller makes it when it first leads; if it had one, restore it")
        })?;
        for root in roots_of(&truth.spec) {
            // What is missing is told of the generation that needs it.
            installation.roots.want(root).await;
        }
        let key = SealingKey::load(truth, installation.id, &installation.roots);
        let key = key.map_err(anyhow::Error::msg)?;
        for (version, why) in &key.closed {
            eprintln!("warning: version {version} of the sealing key cannot be opened: {why}");
        }
        Ok(key)
    }
}

/// Answers one request. How many entries it was about is all that is told of it.
fn reseal(key: &SealingKey) -> anyhow::Result<ExitCode> {
    let request = Request::read(io::stdin().lock())?;
    let answers = request.answer(&key.keys, &mut OsRandom)?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &answers).context("the answer cannot be written")?;
    out.flush().context("the answer cannot be written")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the keys, and says on standard error what they are. Fails in the end if some could not be opened.
fn print(key: &SealingKey) -> anyhow::Result<ExitCode> {
    let count = key.public.len();
    if count == 0 {
        bail!("no sealing key can be opened: restore the root key that wraps them");
    }
    let text = export(&key.keys);
    let mut out = io::stdout().lock();
    out.write_all(text.expose())
        .and_then(|()| out.flush())
        .context("the keys cannot be written")?;
    eprintln!(
        "{count} private sealing keys of installation {}: they open every value that was sealed for it, also in old commits, without \
         a cluster. Encrypt the file, keep it offline and apart from Git, and delete this copy (chmod 600 until then). After the \
         next rotation of the sealing key, export again.",
        key.keys.installation()
    );
    if !key.closed.is_empty() {
        bail!(
            "{} further keys could not be opened and are not in it",
            key.closed.len()
        );
    }
    Ok(ExitCode::SUCCESS)
}
