//! `kubectl keystead`: what users ask and change, by plain objects of the Kubernetes API and with the rights of their own
//! kubeconfig. It needs no port of the operator, and no name of a release.
//!
//! Every command is the same: arguments, one or two calls, a pure decision, and one line or a table. A change is a merge patch of
//! the state that was seen. A value is shown only where `--reveal` asks for it.

mod completion;
mod connection;
mod doctor;
mod exit;
mod grant;
mod key;
mod manifest;
mod objects;
mod output;
mod policy;
mod rotation;
mod seal;
mod secret;
mod template;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::exit::Exit;
use self::exit::Failure;
use crate::cli::{audit, process};

/// Keys and secrets of Keystead, with the rights that you have in the cluster.
#[derive(Debug, Parser)]
#[command(name = "kubectl-keystead", version)]
pub struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keys: list, rotate, enable, disable, schedule their end.
    Key(key::Args),
    /// Rights to use a key, given to one principal.
    Grant(grant::Args),
    /// Secrets: list, versions, roll back, restore, delete, show.
    Secret(secret::Args),
    /// Rotation of secrets: list schedules, how far they are, rotate now.
    Rotation(rotation::Args),
    /// Encrypt values for Git, with a public key.
    Seal(Box<seal::Args>),
    /// Try a template locally.
    Template(template::Args),
    /// Ask what policies and grants decide, and check a policy.
    Policy(policy::Args),
    /// Check audit logs, and ask them who used a key.
    Audit(audit::Args),
    /// Find what is misconfigured, and what is about to go. Read-only.
    Doctor(doctor::Args),
    /// Print a completion script for a shell.
    Completion(completion::Args),
}

impl Plugin {
    /// Reads the command line; a mistake in it ends the program. In its help the program is called as kubectl's users call it,
    /// and in the completion scripts, which are for its own name, it is not.
    pub fn read() -> Self {
        let mut command = Self::command().bin_name("kubectl keystead");
        let read = Self::from_arg_matches(&command.get_matches_mut());
        read.unwrap_or_else(|error| error.format(&mut command).exit())
    }
}

/// Runs what the command line says. Nothing of it panics, and what goes wrong is one line on standard error.
pub async fn run(plugin: Plugin) -> ExitCode {
    process::install_crypto_provider();
    match plugin.command {
        Command::Key(args) => report(Box::pin(key::run(args)).await),
        Command::Grant(args) => report(Box::pin(grant::run(args)).await),
        Command::Secret(args) => report(Box::pin(secret::run(args)).await),
        Command::Rotation(args) => report(Box::pin(rotation::run(args)).await),
        Command::Seal(args) => report(Box::pin(seal::run(*args)).await),
        Command::Template(args) => report(template::run(args)),
        Command::Policy(args) => Box::pin(policy::run(args)).await,
        Command::Audit(args) => audit::run(&args).unwrap_or(Exit::Error.into()),
        Command::Doctor(args) => report(Box::pin(doctor::run(args)).await),
        Command::Completion(args) => report(completion::run(&args)),
    }
}

/// The exit code; a failure is told on standard error.
fn report(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("error: {}", failure.message);
            }
            failure.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Plugin::command().debug_assert();
    }
}
