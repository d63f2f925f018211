//! The unix sockets that kubelet calls. One that a dead predecessor left is replaced; that of somebody who lives is not taken.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// The folder cannot be made.
    #[error("the folder {0} cannot be made")]
    MakeFolder(PathBuf, #[source] io::Error),
    /// Somebody answers there.
    #[error("another process listens on {0}: two node plugins must not run on one node")]
    Taken(PathBuf),
    /// Something is there that is no socket.
    #[error("{0} is no socket: remove it, or set another kubelet root folder")]
    NoSocket(PathBuf),
    /// What is there cannot be looked at or removed.
    #[error("the old socket {0} cannot be replaced")]
    Replace(PathBuf, #[source] io::Error),
    /// The system refuses.
    #[error("cannot listen on {0}")]
    Bind(PathBuf, #[source] io::Error),
}

/// A socket that is listened on.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    /// What tells it from a successor's at the same path.
    inode: u64,
}

/// Who may enter the folder of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Folder {
    /// It is ours, and nobody else enters it.
    Own,
    /// It is kubelet's.
    Kubelets,
}

impl Socket {
    /// Listens at `path`.
    ///
    /// # Errors
    /// Somebody listens there, or something else is in the way.
    pub(super) async fn bind(
        path: &Path,
        folder: Folder,
    ) -> Result<(Self, UnixListener), SocketError> {
        if let Some(parent) = path.parent() {
            // The permissions of a socket cannot be set before it is there: its folder keeps others out from the start.
            let mode = match folder {
                Folder::Own => 0o700,
                Folder::Kubelets => 0o750,
            };
            let made = DirBuilder::new().recursive(true).mode(mode).create(parent);
            // One that was there may have been made by somebody who did not mind.
            let made = made.and_then(|()| match folder {
                Folder::Own => fs::set_permissions(parent, Permissions::from_mode(mode)),
                Folder::Kubelets => Ok(()),
            });
            made.map_err(|error| SocketError::MakeFolder(parent.to_owned(), error))?;
        }
        remove_stale(path).await?;
        let bind = |error| SocketError::Bind(path.to_owned(), error);
        let listener = UnixListener::bind(path).map_err(bind)?;
        let inode = fs::symlink_metadata(path).map_err(bind)?.ino();
        let path = path.to_owned();
        Ok((Self { path, inode }, listener))
    }

    /// Removes it, unless it is a successor's by now. kubelet then knows that the plugin is gone.
    pub(super) fn remove(&self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(%error, path = %self.path.display(), "a socket could not be removed");
        }
    }
}

async fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |error| SocketError::Replace(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(SocketError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_of_a_socket_keeps_others_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/csi.sock");
        let (_socket, _listener) = Socket::bind(&path, Folder::Own).await.unwrap();
        let mode = fs::metadata(path.parent().unwrap()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_socket_of_a_dead_process_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("csi.sock");
        let (_, listener) = Socket::bind(&path, Folder::Own).await.unwrap();
        // The file stays when nobody listens any more, as after a kill.
        drop(listener);
        assert!(path.exists());
        let (_socket, _listener) = Socket::bind(&path, Folder::Own).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_of_a_living_process_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("csi.sock");
        let (_socket, _listener) = Socket::bind(&path, Folder::Own).await.unwrap();
        let refused = Socket::bind(&path, Folder::Own).await.unwrap_err();
        assert!(matches!(refused, SocketError::Taken(_)), "{refused}");
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("csi.sock");
        fs::write(&path, "precious").unwrap();
        let refused = Socket::bind(&path, Folder::Own).await.unwrap_err();
        assert!(matches!(refused, SocketError::NoSocket(_)), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("csi.sock");
        let (old, listener) = Socket::bind(&path, Folder::Own).await.unwrap();
        drop(listener);
        // Something has the old inode, or the successor could get its number.
        let keep = folder.path().join("kept");
        fs::hard_link(&path, keep).unwrap();
        let (new, _listener) = Socket::bind(&path, Folder::Own).await.unwrap();
        old.remove();
        assert!(path.exists());
        new.remove();
        assert!(!path.exists());
    }
}
