//! The `keystead-node` command: what runs on each node.

use std::process::ExitCode;

use clap::Parser;
use keystead::node::cli::{Cli, run};
use zeroizing_alloc::ZeroAlloc;

/// Every block of heap memory is wiped when it is freed, also those of libraries that handle
/// plaintext and know nothing of secrets (JSON, HTTP, gRPC).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> anyhow::Result<ExitCode> {
    run(Cli::parse())
}
