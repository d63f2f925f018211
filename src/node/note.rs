//! What the files of a volume that stays as it was are made of, written down beside them, so that a plugin that starts again still knows
//! which version the pod has. Ids only, no value.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::told::Made;

/// A name that no key of a secret can have.
const NAME: &str = "..made";
/// Most bytes of it: two ids for each of the sources that a volume may have.
pub(super) const MOST: u64 = 16 * 1024;

/// Writes it into the folder `root`.
pub(super) fn write(root: impl AsFd, made: &Made) -> io::Result<()> {
    let root = root.as_fd();
    match rustix::fs::unlinkat(root, NAME, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, NAME, flags, Mode::RUSR)?;
    File::from(file).write_all(&serde_json::to_vec(made)?)
}

/// Reads it from the folder `root`. `None`: it is not there, or cannot be read.
pub(super) fn read(root: impl AsFd) -> Option<Made> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root.as_fd(), NAME, flags, Mode::empty());
    let mut bytes = Vec::new();
    let file = File::from(file.ok()?);
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::told::Origin;

    #[test]
    fn what_is_written_down_is_read_again_and_what_is_broken_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let folder = || File::open(dir.path()).unwrap();
        assert_eq!(read(folder()), None);
        let origin = |version: &str| Origin {
            revision: "r".repeat(64),
            version: version.to_owned(),
        };
        let made = vec![Some(origin("v1")), None];
        write(folder(), &made).unwrap();
        assert_eq!(read(folder()), Some(made));
        let again = vec![Some(origin("v2"))];
        write(folder(), &again).unwrap();
        assert_eq!(read(folder()), Some(again));
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        std::fs::write(dir.path().join(NAME), "{").unwrap();
        assert_eq!(read(folder()), None);
    }

    #[test]
    fn that_of_the_largest_volume_has_room() {
        let origin = Origin {
            revision: "r".repeat(64),
            version: "v".repeat(64),
        };
        let made: Made = vec![Some(origin); crate::api::volume::MAX_SOURCES];
        assert!(serde_json::to_vec(&made).unwrap().len() as u64 <= MOST);
    }
}
