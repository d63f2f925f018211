//! The root key as a file, for example of a CSI volume or a Secret that only this pod mounts.

use std::io::Read;
use std::path::PathBuf;

use futures::future::BoxFuture;
use zeroize::Zeroizing;

use super::{RootError, RootProvider, parse};
use crate::crypto::RootKey;

/// A root key file is tiny; whatever is larger is something else.
const MAX_FILE: usize = 4096;

/// The root key in a file.
#[derive(Debug)]
pub struct FileRoot {
    path: PathBuf,
}

impl FileRoot {
    /// The root key in that file.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn read(&self) -> Result<Option<RootKey>, RootError> {
        let failed = |source| RootError::File {
            path: self.path.clone(),
            source,
        };
        let file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Of full size from the start, so that it never moves and leaves a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE));
        file.take(MAX_FILE as u64)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        parse(&bytes, || self.place()).map(Some)
    }
}

impl RootProvider for FileRoot {
    fn load(&self) -> BoxFuture<'_, Result<Option<RootKey>, RootError>> {
        Box::pin(async { self.read() })
    }

    fn create(&self) -> BoxFuture<'_, Result<RootKey, RootError>> {
        Box::pin(async {
            Err(RootError::NotMade {
                place: self.place(),
            })
        })
    }

    fn place(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn is_embedded(&self) -> bool {
        false
    }
}
