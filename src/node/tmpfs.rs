//! File systems in memory, one for each volume: mounted at the place that kubelet names, as large as their content, never swapped
//! out where the kernel can promise it.
//!
//! # How containers see them
//! The mount begins read-only, and so does every copy of it in other mount namespaces: the host's, which containers get theirs
//! from. Writing opens only the copy in the plugin's own namespace. Nothing has to be remembered for that, and a plugin that
//! is killed while it writes leaves nothing but a read-only mount. Where `SELinux` is on, the container runtime must label the
//! files, so the mount is left writable there, as kubelet leaves those of native Secrets.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::content::{MAX_BYTES, Room};

/// What a mount always has.
const FLAGS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);
/// `f_type` of a tmpfs, from the kernel's `magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Pages and inodes beyond what is counted: the folders of two generations and their links.
const SPARE: u64 = 16;
/// Most mounts that are taken from one place: more than two have never been there.
const MOST_LAYERS: usize = 16;
/// There when `SELinux` is on.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Why a volume could not be mounted, changed or unmounted.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    /// The folder cannot be made.
    #[error("the folder of the volume cannot be made: {0}")]
    MakeFolder(#[source] io::Error),
    /// The kernel refuses the mount.
    #[error("the volume cannot be mounted: {0}; the node plugin's container must be privileged")]
    Mount(#[source] io::Error),
    /// There is no memory left.
    #[error("the node has no memory left for the volume")]
    NoRoom,
    /// The kernel refuses the change.
    #[error("the volume cannot be changed: {0}")]
    Remount(#[source] io::Error),
    /// The folder cannot be looked at.
    #[error("the folder of the volume cannot be looked at: {0}")]
    Look(#[source] io::Error),
    /// The mount cannot be taken away.
    #[error("the volume cannot be unmounted: {0}")]
    Unmount(#[source] io::Error),
    /// The folder cannot be removed.
    #[error("the folder of the volume cannot be removed: {0}")]
    RemoveFolder(#[source] io::Error),
}

/// Whether a file system of ours is mounted at `target`. One that is not there has none.
pub(super) fn is_mounted(target: &Path) -> Result<bool, MountError> {
    let look = |error: Errno| MountError::Look(error.into());
    let found = match rustix::fs::lstat(target) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(error) => return Err(look(error)),
    };
    let Some(parent) = target.parent() else {
        return Ok(false);
    };
    // Each tmpfs is a device of its own.
    let parent = rustix::fs::stat(parent).map_err(look)?;
    if found.st_dev == parent.st_dev {
        return Ok(false);
    }
    let kind = rustix::fs::statfs(target).map_err(look)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|kind| kind == TMPFS_MAGIC))
}

/// Mounts an empty one at `target`, which may be there already.
pub(super) fn mount(target: &Path, room: Room) -> Result<(), MountError> {
    let made = DirBuilder::new().mode(0o750).create(target);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(MountError::MakeFolder(error));
        }
        Ok(()) | Err(_) => {}
    }
    let read_only = if labels_files() {
        MountFlags::empty()
    } else {
        MountFlags::RDONLY
    };
    with_options(room, true, |options| {
        rustix::mount::mount("tmpfs", target, "tmpfs", FLAGS | read_only, options)
    })
    .map_err(|error| match error {
        Errno::NOMEM | Errno::NOSPC => MountError::NoRoom,
        error => MountError::Mount(error.into()),
    })
}

/// Lets this process write into the one at `target`, with room for what is there and for `room` beside it. Returns its folder.
pub(super) fn open_for_writing(target: &Path, room: Room) -> Result<OwnedFd, MountError> {
    let remount = |error: Errno| MountError::Remount(error.into());
    let used = usage(target)?;
    let room = Room {
        bytes: used.bytes + room.bytes,
        inodes: used.inodes + room.inodes,
    };
    let changed = with_options(room, false, |options| {
        rustix::mount::mount_remount(target, FLAGS, options)
    });
    match changed {
        Ok(()) => {}
        Err(Errno::NOMEM | Errno::NOSPC) => return Err(MountError::NoRoom),
        Err(error) => return Err(remount(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, target, flags, Mode::empty()).map_err(remount)
}

/// Ends what [`open_for_writing`] began. What fails is of no consequence: containers have their own copy of the mount.
pub(super) fn close_for_writing(target: &Path) {
    if !labels_files() {
        let flags = FLAGS | MountFlags::BIND | MountFlags::RDONLY;
        let _ = rustix::mount::mount_remount(target, flags, "");
    }
}

/// Takes away what is mounted at `target`, and the folder. Nothing there is what is wanted.
pub(super) fn remove(target: &Path) -> Result<(), MountError> {
    for _ in 0..MOST_LAYERS {
        if !is_mounted(target)? {
            break;
        }
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Somebody on the node looks at it. It goes from the tree now, and from memory when they leave.
            Err(Errno::BUSY) => {
                let detach = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
                rustix::mount::unmount(target, detach)
                    .map_err(|error| MountError::Unmount(error.into()))?;
            }
            Err(error) => return Err(MountError::Unmount(error.into())),
        }
    }
    match fs::remove_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(MountError::RemoveFolder),
    }
}

/// What is used, but not more than a volume may have: one that a container filled gets no more room with each change.
fn usage(target: &Path) -> Result<Room, MountError> {
    let found = rustix::fs::statvfs(target).map_err(|error| MountError::Look(error.into()))?;
    let bytes = found.f_blocks.saturating_sub(found.f_bfree) * found.f_frsize;
    Ok(Room {
        bytes: bytes.min(MAX_BYTES as u64 * 2),
        inodes: found.f_files.saturating_sub(found.f_ffree).min(1 << 16),
    })
}

/// Calls with the options of a tmpfs; without `noswap` where the kernel does not know it (before 6.4), or the one that is there
/// was mounted without.
fn with_options(
    room: Room,
    new: bool,
    call: impl Fn(&std::ffi::CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let page = rustix::param::page_size() as u64;
    let (size, inodes) = (room.bytes + SPARE * page, room.inodes + SPARE);
    // An owner and a mode are for the first time only: later they are the writer's.
    let mode = if new { ",mode=0755" } else { "" };
    let options = |swap: &str| {
        let options = format!("size={size},nr_inodes={inodes}{mode}{swap}");
        CString::new(options).map_err(|_| Errno::INVAL)
    };
    match call(&options(",noswap")?) {
        Err(Errno::INVAL) => call(&options("")?),
        result => result,
    }
}

fn labels_files() -> bool {
    rustix::fs::accessat(CWD, SELINUX, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::node::testing::may_mount;

    const SMALL: Room = Room {
        bytes: 8192,
        inodes: 4,
    };

    fn options(target: &Path) -> String {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let target = target.to_str().unwrap();
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(target));
        line.unwrap_or_default().to_owned()
    }

    #[test]
    fn what_is_not_there_is_not_mounted_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("volume/mount");
        assert!(!is_mounted(&target).unwrap());
        remove(&target).unwrap();
        fs::create_dir_all(&target).unwrap();
        assert!(!is_mounted(&target).unwrap());
        remove(&target).unwrap();
        assert!(!target.exists());
    }

    #[test]
    fn a_volume_is_mounted_read_only_and_bounded_and_goes_away_again() {
        if !may_mount() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("mount");
        mount(&target, SMALL).unwrap();
        assert!(is_mounted(&target).unwrap());
        let shown = options(&target);
        for option in ["nosuid", "nodev", "noexec"] {
            assert!(shown.contains(option), "{shown}");
        }
        if !labels_files() {
            fs::write(target.join("a"), "b").unwrap_err();
        }
        remove(&target).unwrap();
        assert!(!target.exists());
    }

    #[test]
    fn writing_is_possible_in_between_and_room_grows_with_the_content() {
        if !may_mount() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("mount");
        mount(&target, SMALL).unwrap();
        let mebibyte = Room {
            bytes: 1 << 20,
            inodes: 4,
        };
        for name in ["a", "b"] {
            let _root = open_for_writing(&target, mebibyte).unwrap();
            fs::write(target.join(name), vec![0; 1 << 20]).unwrap();
            close_for_writing(&target);
        }
        if !labels_files() {
            fs::write(target.join("c"), "d").unwrap_err();
        }
        assert!(options(&target).contains("noexec"));
        remove(&target).unwrap();
    }

    #[test]
    fn a_full_volume_takes_no_more() {
        if !may_mount() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("mount");
        mount(&target, SMALL).unwrap();
        let _root = open_for_writing(&target, SMALL).unwrap();
        let mut file = fs::File::create(target.join("a")).unwrap();
        let full = file.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        drop(file);
        remove(&target).unwrap();
    }

    #[test]
    fn two_layers_are_both_taken_away() {
        if !may_mount() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("mount");
        mount(&target, SMALL).unwrap();
        mount(&target, SMALL).unwrap();
        remove(&target).unwrap();
        assert!(!target.exists());
    }

    #[test]
    fn a_volume_that_somebody_looks_at_goes_away_all_the_same() {
        if !may_mount() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("mount");
        mount(&target, SMALL).unwrap();
        let held = fs::File::open(&target).unwrap();
        remove(&target).unwrap();
        assert!(!target.exists());
        drop(held);
    }
}
