//! The root key as a file, for example of a CSI volume or a Secret that only this pod mounts.

use std::io::Read;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use zeroize::Zeroizing;

use super::{ProviderKind, RootError, RootProvider, parse};
use crate::crypto::{Fingerprint, RootKey};

/// A root key file is tiny; whatever is larger is something else.
const MAX_FILE: usize = 4096;

/// Root keys in files: one, and while it is rotated a second.
#[derive(Debug)]
pub struct FileRoot {
    path: PathBuf,
    previous: Option<PathBuf>,
}

impl FileRoot {
    /// The root key in `path`, and perhaps another one in `previous`. Which of them is the current one is not decided by
    /// the place but by the installation's record.
    pub fn new(path: PathBuf, previous: Option<PathBuf>) -> Self {
        Self { path, previous }
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.path).chain(&self.previous)
    }

    /// Whether neither file holds that root key. What is no root key at all is not this one.
    fn is_without(&self, root: Fingerprint) -> Result<bool, RootError> {
        for path in self.paths() {
            match read(path) {
                Ok(Some(found)) if found.fingerprint() == root => return Ok(false),
                Ok(_) | Err(RootError::Malformed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whichever file holds the root key with that fingerprint. A file that holds something else, or nothing, is passed
    /// over if the other one has it.
    fn look_up(&self, wanted: Fingerprint) -> Result<Option<RootKey>, RootError> {
        let mut failed = None;
        for path in self.paths() {
            match read(path) {
                Ok(Some(root)) if root.fingerprint() == wanted => return Ok(Some(root)),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

fn read(path: &Path) -> Result<Option<RootKey>, RootError> {
    let failed = |source| RootError::File {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Of full size from the start, so that it never moves and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE));
    file.take(MAX_FILE as u64)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    parse(&bytes, || format!("file {}", path.display())).map(Some)
}

impl RootProvider for FileRoot {
    fn kind(&self) -> ProviderKind {
        ProviderKind::File
    }

    fn find(&self, wanted: Fingerprint) -> BoxFuture<'_, Result<Option<RootKey>, RootError>> {
        Box::pin(async move { self.look_up(wanted) })
    }

    fn offered(&self) -> BoxFuture<'_, Result<Option<RootKey>, RootError>> {
        Box::pin(async { read(&self.path) })
    }

    fn create(&self) -> BoxFuture<'_, Result<RootKey, RootError>> {
        Box::pin(async {
            Err(RootError::NotMade {
                place: self.place(),
            })
        })
    }

    fn keep<'a>(&'a self, _: &'a RootKey) -> BoxFuture<'a, Result<(), RootError>> {
        Box::pin(async {
            Err(RootError::NotMade {
                place: self.place(),
            })
        })
    }

    fn forget(&self, root: Fingerprint) -> BoxFuture<'_, Result<bool, RootError>> {
        // Files are their owner's.
        Box::pin(async move { self.is_without(root) })
    }

    fn place(&self) -> String {
        let file = format!("file {}", self.path.display());
        match &self.previous {
            Some(previous) => format!("{file} or file {}", previous.display()),
            None => file,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_root_key_is_forgotten_when_its_owner_has_removed_it_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let (path, previous) = (folder.path().join("key"), folder.path().join("previous"));
        std::fs::write(&path, [1; 32]).unwrap();
        std::fs::write(&previous, [2; 32]).unwrap();
        let old = read(&previous).unwrap().unwrap().fingerprint();
        let provider = FileRoot::new(path, Some(previous.clone()));
        let gone = || provider.forget(old).now_or_never().unwrap().unwrap();
        assert!(!gone());
        std::fs::write(&previous, "no root key").unwrap();
        assert!(gone());
        std::fs::remove_file(&previous).unwrap();
        assert!(gone());
    }

    #[test]
    fn a_root_key_is_found_by_its_fingerprint_in_either_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, previous) = (folder.path().join("key"), folder.path().join("previous"));
        std::fs::write(&path, [1; 32]).unwrap();
        std::fs::write(&previous, [2; 32]).unwrap();
        let provider = FileRoot::new(path.clone(), Some(previous.clone()));
        let of = |path: &Path| read(path).unwrap().unwrap().fingerprint();
        for wanted in [of(&path), of(&previous)] {
            let found = provider.find(wanted).now_or_never().unwrap().unwrap();
            assert_eq!(found.unwrap().fingerprint(), wanted);
        }
        let offered = provider.offered().now_or_never().unwrap().unwrap();
        assert_eq!(offered.unwrap().fingerprint(), of(&path));
        let gone = of(&previous);
        std::fs::remove_file(&previous).unwrap();
        let found = provider.find(gone).now_or_never().unwrap().unwrap();
        assert!(found.is_none());
        // One that cannot be read is told, unless the other one has what is wanted.
        std::fs::write(&previous, "no root key").unwrap();
        assert!(provider.find(of(&path)).now_or_never().unwrap().is_ok());
        assert!(provider.find(gone).now_or_never().unwrap().is_err());
    }
}
