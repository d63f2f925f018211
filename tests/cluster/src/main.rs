//! The small command over the library.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use keystead_cluster::{Binaries, ControlPlane, Options, Set};

#[derive(Parser)]
#[command(
    name = "keystead-cluster",
    version,
    about = "A real Kubernetes for tests and the demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the programs that are missing and print where they are (all without a flag).
    Bins(BinsArgs),
    /// Print where a program such as kubectl or helm is, after building it if it is missing.
    Path {
        /// Its name.
        name: String,
    },
    /// Run a control plane without a node in the foreground, until ^C.
    ControlPlane {
        /// The folder it lives in; removed at the end.
        #[arg(long)]
        state: PathBuf,
    },
    /// Print the keys of a cluster's etcd.
    EtcdDump {
        /// The cluster's folder.
        #[arg(long)]
        state: PathBuf,
        /// Only keys whose value contains this text, as it is or in base64.
        #[arg(long)]
        grep: Option<String>,
    },
}

#[derive(Args)]
struct BinsArgs {
    /// Those of a control plane.
    #[arg(long)]
    control_plane: bool,
    /// Those of a node.
    #[arg(long)]
    node: bool,
    /// Helm.
    #[arg(long)]
    helm: bool,
}

impl BinsArgs {
    fn sets(&self) -> Vec<Set> {
        let asked = [
            (self.control_plane, Set::ControlPlane),
            (self.node, Set::Node),
            (self.helm, Set::Helm),
        ];
        let all = !asked.iter().any(|(asked, _)| *asked);
        asked
            .into_iter()
            .filter(|(asked, _)| *asked || all)
            .map(|(_, set)| set)
            .collect()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keystead-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Bins(args) => {
            for (name, path) in Binaries::ensure(&args.sets())?.iter() {
                println!("{name}\t{}", path.display());
            }
        }
        Command::Path { name } => println!("{}", Binaries::ensure_one(&name)?.display()),
        Command::ControlPlane { state } => control_plane(state).await?,
        Command::EtcdDump { state, grep } => etcd_dump(state, grep.as_deref()).await?,
    }
    Ok(())
}

async fn control_plane(state: PathBuf) -> Result<()> {
    let cluster = ControlPlane::start_in(&state, Options::default()).await?;
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    stopped().await?;
    // Before its folder goes.
    drop(cluster);
    fs::remove_dir_all(&state).with_context(|| format!("remove {}", state.display()))
}

/// Waits for ^C or SIGTERM.
async fn stopped() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("wait for ^C"),
        _ = terminated.recv() => Ok(()),
    }
}

async fn etcd_dump(state: PathBuf, grep: Option<&str>) -> Result<()> {
    let cluster = ControlPlane::attach(state)?;
    let keys = match grep {
        Some(text) => cluster.etcd().keys_containing(text.as_bytes()).await?,
        None => {
            let pairs = cluster.etcd().dump().await?;
            pairs
                .iter()
                .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
                .collect()
        }
    };
    for key in keys {
        println!("{key}");
    }
    Ok(())
}
