//! The `kubectl keystead` command: kubectl runs this program when it is on the PATH.

use std::process::ExitCode;

use keystead::plugin::{Plugin, run};
use zeroizing_alloc::ZeroAlloc;

/// Every block of heap memory is wiped when it is freed, also those of libraries that handle
/// plaintext and know nothing of secrets (JSON, HTTP, templates).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

#[tokio::main]
async fn main() -> ExitCode {
    run(Plugin::read()).await
}
