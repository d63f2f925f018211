//! The command line: parsing, and the exit code.

pub(crate) mod audit;
mod check_file;
mod controller;
mod crds;
pub(crate) mod log_args;
pub(crate) mod policy;
pub(crate) mod process;
mod root;
mod root_args;
mod sealing;
mod server;
mod trail;
pub(crate) mod words;

use std::process::ExitCode;

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
    /// Run the operator.
    Controller(Box<controller::Args>),
    /// Run a replica of the server: it holds the keys and serves the webhooks.
    Server(Box<server::Args>),
    /// Print the definitions of the resource types, or write them into a folder.
    Crds(crds::Args),
    /// Check audit logs, and ask them who used a key.
    Audit(audit::Args),
    /// Ask what policies and grants decide, and why.
    Policy(policy::Args),
    /// Rotate the root key, and see how far that is.
    Root(root::Args),
    /// What only the private sealing keys can do: seal entries anew, and be exported.
    Sealing(sealing::Args),
    /// Succeed if a file is there and not empty.
    #[command(hide = true)]
    CheckFile(check_file::Args),
}

/// Runs what the command line says.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Controller(args) => {
            process::install_crypto_provider();
            Box::pin(controller::run(*args)).await?;
        }
        Command::Server(args) => {
            process::install_crypto_provider();
            Box::pin(server::run(*args)).await?;
        }
        Command::Crds(args) => crds::run(&args)?,
        Command::Audit(args) => return audit::run(&args),
        Command::Policy(args) => {
            process::install_crypto_provider();
            return Box::pin(policy::run(args)).await;
        }
        Command::Root(args) => {
            process::install_crypto_provider();
            root::run(args).await?;
        }
        Command::Sealing(args) => {
            process::install_crypto_provider();
            return Box::pin(sealing::run(args)).await;
        }
        Command::CheckFile(args) => check_file::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
