//! Where root keys are, for every process that needs them.

use std::path::PathBuf;

use crate::roots::{ProviderKind, RootConfig};

/// Where root keys are.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RootArgs {
    /// Where the root key of a new installation comes from. Of an existing one, the record says which root key it needs.
    #[arg(
        id = "root_provider",
        long = "root-provider",
        env = "KEYSTEAD_ROOT_PROVIDER",
        value_enum,
        default_value_t = ProviderKind::Secret
    )]
    provider: ProviderKind,
    /// The file that holds the root key, or the one to migrate to: 32 bytes, or their base64.
    #[arg(
        id = "root_file",
        long = "root-file",
        env = "KEYSTEAD_ROOT_FILE",
        required_if_eq("root_provider", "file")
    )]
    file: Option<PathBuf>,
    /// The file that holds the root key before that one, while something is wrapped under it.
    #[arg(
        id = "root_previous_file",
        long = "root-previous-file",
        env = "KEYSTEAD_ROOT_PREVIOUS_FILE",
        requires = "root_file"
    )]
    previous_file: Option<PathBuf>,
}

impl RootArgs {
    /// The places where root keys may be.
    pub(super) fn config(&self) -> RootConfig {
        RootConfig {
            provider: self.provider,
            file: self.file.clone(),
            previous_file: self.previous_file.clone(),
        }
    }
}
