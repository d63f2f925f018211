//! `kubectl keystead completion`: what a shell needs to complete the command line.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::Plugin;
use super::exit::{Exit, Failure};

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Plugin::command(),
        "kubectl-keystead",
        &mut script,
    );
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Ok)
}
