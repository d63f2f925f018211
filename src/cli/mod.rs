//! The command line: parsing, and the exit code.

mod crds;

use clap::{Parser, Subcommand};

/// Customer-managed keys and envelope-encrypted secrets that live in a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "keystead", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the definitions of the resource types, or write them into a folder.
    Crds(crds::Args),
}

/// Runs what the command line says.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Crds(args) => crds::run(&args),
    }
}
