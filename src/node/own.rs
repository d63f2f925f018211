//! The plugin's own token, which kubelet replaces in its file long before it expires.

use std::io;
use std::path::PathBuf;

use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::api::{CallError, Kind};
use super::client::Token;

/// Longest token.
const MAX_TOKEN: u64 = 16 * 1024;

/// Where the plugin's own token is.
#[derive(Clone, Debug)]
pub(super) struct OwnToken(pub(super) PathBuf);

impl OwnToken {
    /// The token as it is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn read(&self) -> Result<Token, CallError> {
        let read = self.text().await;
        let text = read.map_err(|error| CallError {
            kind: Kind::BadToken,
            message: format!(
                "the plugin's own token {} cannot be read: {error}",
                self.0.display()
            ),
        })?;
        Ok(Token::new(&text))
    }

    async fn text(&self) -> io::Result<Zeroizing<String>> {
        let file = tokio::fs::File::open(&self.0).await?;
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_TOKEN).read_to_string(&mut text).await?;
        Ok(text)
    }
}
