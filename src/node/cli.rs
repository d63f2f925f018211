//! The command line of `keystead-node`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use super::copier::{self, CopyArgs};
use super::run::{self, Config};
use crate::cli::log_args::LogArgs;
use crate::cli::process::stop_signal;

/// Threads that may wait for the system at a time. Names that nobody resolves keep some waiting for long, and must not hold up
/// mounts.
const BLOCKING_THREADS: usize = 32;
/// Threads that do everything else.
const THREADS: usize = 2;

/// What runs on each node: gives pods the values of secrets in files.
#[derive(Debug, Parser)]
#[command(name = "keystead-node", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve kubelet as a CSI driver.
    Serve(Box<ServeArgs>),
    /// Make the files that a pod's environment variables are read from.
    CopyEnv(CopyArgs),
}

#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// The name of this node.
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    /// kubelet's root folder, the same inside and outside of the container.
    #[arg(
        long,
        env = "KEYSTEAD_KUBELET_ROOT",
        default_value = "/var/lib/kubelet"
    )]
    kubelet_root: PathBuf,
    /// The address of the server: https://HOST:PORT.
    #[arg(long, env = "KEYSTEAD_SERVER")]
    server: String,
    /// The authorities that may sign the server's certificate, PEM. The file may be absent at first, and change.
    #[arg(
        long,
        env = "KEYSTEAD_CA_FILE",
        default_value = "/run/keystead/ca/ca.crt"
    )]
    ca_file: PathBuf,
    /// The plugin's own token. The file changes when kubelet replaces the token.
    #[arg(
        long,
        env = "KEYSTEAD_TOKEN_FILE",
        default_value = "/run/keystead/token/token"
    )]
    token_file: PathBuf,
    /// Where health and metrics are served.
    #[arg(long, env = "KEYSTEAD_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs what the command line says.
///
/// # Errors
/// What was asked for could not be done.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve(*args)?,
        Command::CopyEnv(args) => copier::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(args: ServeArgs) -> anyhow::Result<()> {
    args.log.init_small()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        let config = Config {
            node: args.node_name,
            kubelet_root: args.kubelet_root,
            server: args.server,
            authorities: args.ca_file,
            token: args.token_file,
            http: args.http_address,
        };
        Box::pin(run::run(config, stop)).await
    })
}
