//! `keystead sealing`: what only the private sealing keys can do, for administrators. It runs beside the operator, in its pod or
//! wherever the root key is, and leaves nothing in the cluster but an Event that tells of it: the audit trail has one writer, the
//! operator.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use super::process;
use super::root_args::RootArgs;
use crate::api::Reason;
use crate::calling::answered;
use crate::crypto::OsRandom;
use crate::installation;
use crate::keys::{SealingKey, roots_of, sealing_key_id};
use crate::roots::Providers;
use crate::sealing::{Request, export};
use crate::telling;
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
        Command::Reseal => Session::open(&args).await?.reseal().await,
        Command::Export(export) => {
            if io::stdout().is_terminal() && !export.to_terminal {
                bail!(
                    "standard output is a terminal, which may remember the keys: write them into a file (umask 077; keystead \
                     sealing export > sealing.keys), or give --to-terminal"
                );
            }
            Session::open(&args).await?.export().await
        }
    }
}

/// The sealing keys, opened as the operator opens them.
struct Session {
    client: Client,
    namespace: String,
    key: SealingKey,
}

impl Session {
    async fn open(args: &Args) -> anyhow::Result<Self> {
        let client = process::client().await?;
        let namespace = args.operator_namespace.clone();
        let roots = Providers::new(&args.root.config(), client.clone(), &namespace);
        let installation = installation::find(client.clone(), &namespace, roots).await?;
        let id = sealing_key_id(installation.id).to_string();
        let materials = KeyMaterials::new(client.clone(), &namespace);
        let truth = answered(materials.get(&id)).await;
        let truth = truth.with_context(|| format!("get KeyMaterial {id}"))?;
        let truth = truth.with_context(|| {
            format!(
                "KeyMaterial {id} is not there: the controller makes it when it first leads; if there was one, restore it"
            )
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
        Ok(Self {
            client,
            namespace,
            key,
        })
    }

    /// Answers one request. How many entries it was about is all that is told of it.
    async fn reseal(&self) -> anyhow::Result<ExitCode> {
        let request = Request::read(io::stdin().lock())?;
        let answers = request.answer(&self.key.keys, &mut OsRandom)?;
        let (all, sealed) = (answers.len(), answers.iter().flatten().count());
        let note = format!(
            "{sealed} of {all} entries of spec.sealed were sealed anew, for {} public keys",
            request.recipients.len()
        );
        self.tell(EventType::Normal, Reason::EntriesResealed, note)
            .await;
        let answers = serde_json::to_vec(&answers).context("write the answer")?;
        written(&answers).context("write the answer")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the keys, and says on standard error what they are. Fails in the end if some could not be opened.
    async fn export(&self) -> anyhow::Result<ExitCode> {
        let (count, closed) = (self.key.public.len(), self.key.closed.len());
        if count == 0 {
            bail!("no sealing key can be opened: restore the root key that wraps them");
        }
        let note = format!("{count} private sealing keys were exported: they open every entry");
        self.tell(EventType::Warning, Reason::SealingKeysExported, note)
            .await;
        written(export(&self.key.keys).expose()).context("write the keys")?;
        eprintln!(
            "{count} private sealing keys of installation {}: they open every value that was sealed for it, also in old commits, \
             without a cluster. Encrypt the file, keep it offline and apart from Git, and delete this copy (chmod 600 until \
             then). After the next rotation of the sealing key, export again.",
            self.key.keys.installation()
        );
        if closed > 0 {
            bail!("{closed} further keys could not be opened and are not in it");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// An Event about the installation. Without the right to make one it is done all the same: whoever can read these keys can use
    /// them without us.
    async fn tell(&self, type_: EventType, reason: Reason, note: String) {
        let reporter = Reporter {
            controller: "keystead".to_owned(),
            instance: Some("sealing".to_owned()),
        };
        let event = Event {
            type_,
            reason: reason.as_str().to_owned(),
            note: Some(note),
            action: "Administer".to_owned(),
            secondary: None,
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        let object = installation::reference(&self.namespace);
        if let Err(error) = answered(recorder.publish(&event, &object)).await {
            eprintln!(
                "warning: no Event tells of this: {}",
                telling::describe(&error)
            );
        }
    }
}

/// Writes to standard output, all of it.
fn written(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
