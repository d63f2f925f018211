//! `keystead check-file`: whether a file is there and not empty. The image has no shell, and the chart's test needs to
//! know that a value arrived.

use std::path::PathBuf;

use anyhow::{Context, ensure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file.
    path: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let path = args.path.display();
    let found = std::fs::metadata(&args.path).with_context(|| format!("{path} is not there"))?;
    ensure!(found.len() > 0, "{path} is empty");
    println!("{path}: {} bytes", found.len());
    Ok(())
}
