//! Writes the files of a volume so that a reader sees all of the old ones or all of the new ones, as kubelet does it:
//!
//! ```text
//! password      -> ..data/password
//! tls           -> ..data/tls
//! ..data        -> ..1767323045.678000000   swapped by one rename
//! ..1767323045.678000000/password
//! ..1767323045.678000000/tls/key
//! ```
//!
//! # Guarantees
//! Interrupted between any two steps and called again it ends with the same files. It follows no link: a container that could
//! write into its volume cannot lead it anywhere else.

use std::collections::BTreeMap;
use std::fs::File as StdFile;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::content::{Content, File};

/// The link to the files that count.
const DATA: &str = "..data";
/// What a link is called before it replaces another.
const NEW_LINK: &str = "..new";
/// What the names begin with that are the writer's own.
const OWN: &str = "..";
/// Deepest folder that is looked into: no volume has deeper ones.
const MAX_DEPTH: usize = 80;
/// Longest target of a link that is read.
const MAX_TARGET: usize = 512;
/// Names that are tried for a new folder.
const TRIES: u32 = 16;

/// What everybody may do with folders.
const FOLDER: Mode = Mode::from_raw_mode(0o755);
/// What `fsGroup` adds to files and to folders, as kubelet has it for volumes that are read-only.
const GROUP_READS: Mode = Mode::from_raw_mode(0o440);
const GROUP_ENTERS: Mode = Mode::from_raw_mode(0o2550);

/// Why files could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The file system is full.
    #[error("there is no room left for the files of the volume")]
    NoRoom,
    /// Something else.
    #[error("the files of the volume cannot be written ({step}): {error}")]
    Step {
        /// What was done.
        step: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The files are new.
    New,
    /// They were right already.
    Same,
}

type Result<T> = std::result::Result<T, WriteError>;

trait Stepped<T> {
    /// Names the step that failed.
    fn step(self, step: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> Stepped<T> for std::result::Result<T, E> {
    fn step(self, step: &'static str) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory => WriteError::NoRoom,
                _ => WriteError::Step { step, error },
            }
        })
    }
}

/// Whether files were written into the folder `root` at all.
pub(super) fn is_written(root: impl AsFd) -> bool {
    let root = root.as_fd();
    current(root)
        .ok()
        .flatten()
        .is_some_and(|name| open_folder(root, &name).is_ok())
}

/// Makes the files of the folder `root` those of `content`.
///
/// # Errors
/// The old files are still there, whole.
pub(super) fn write(
    root: impl AsFd,
    content: &Content,
    group: Option<Gid>,
    now: SystemTime,
) -> Result<Written> {
    let root = root.as_fd();
    give(root, group).step("give the folder to the group")?;
    let old = current(root)?;
    // What was left by one that was interrupted takes room, and a name that is needed.
    remove_others(root, old.as_deref(), content)?;
    let same = old
        .as_deref()
        .is_some_and(|old| is_same(root, old, content));
    let written = if same {
        Written::Same
    } else {
        let new = new_generation(root, content, group, now)?;
        link(root, &new, DATA, group).inspect_err(|_| {
            let _ = remove_tree(root, &new, 0);
        })?;
        Written::New
    };
    for name in content.names() {
        link(root, &format!("{DATA}/{name}"), name, group)?;
    }
    let now_there = current(root)?;
    remove_stale(root, now_there.as_deref(), content)?;
    Ok(written)
}

/// The name of the folder whose files count.
fn current(root: BorrowedFd<'_>) -> Result<Option<String>> {
    let target = match rustix::fs::readlinkat(root, DATA, Vec::with_capacity(MAX_TARGET)) {
        // It is not there, or something else was put in its place.
        Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
        target => target.step("read the link to the files")?,
    };
    let target = target.into_string().unwrap_or_default();
    let ours = target.starts_with(OWN) && target.len() > OWN.len() && !target.contains('/');
    Ok(ours.then_some(target))
}

/// Writes the files into a folder of their own, which nobody sees yet.
fn new_generation(
    root: BorrowedFd<'_>,
    content: &Content,
    group: Option<Gid>,
    now: SystemTime,
) -> Result<String> {
    let (name, folder) = new_folder(root, now)?;
    let filled = fill(folder.as_fd(), content, group);
    filled.inspect_err(|_| {
        let _ = remove_tree(root, &name, 0);
    })?;
    Ok(name)
}

fn new_folder(root: BorrowedFd<'_>, now: SystemTime) -> Result<(String, OwnedFd)> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = format!("{OWN}{}.{:09}", now.as_secs(), now.subsec_nanos());
    let mut name = stamp.clone();
    for number in 0..TRIES {
        match rustix::fs::mkdirat(root, &name, Mode::RWXU) {
            // The clock was put back, or stands.
            Err(Errno::EXIST) => name = format!("{stamp}-{number}"),
            made => {
                made.step("make a folder for the new files")?;
                let folder = open_folder(root, &name).step("open the folder for the new files")?;
                return Ok((name, folder));
            }
        }
    }
    Err(Errno::EXIST).step("make a folder for the new files")
}

fn fill(folder: BorrowedFd<'_>, content: &Content, group: Option<Gid>) -> Result<()> {
    let mut folders: BTreeMap<&str, OwnedFd> = BTreeMap::new();
    for (path, file) in content.files() {
        for (end, _) in path.match_indices('/') {
            let inner = &path[..end];
            if !folders.contains_key(inner) {
                let (above, name) = place(&folders, folder, inner);
                let made = make_folder(above, name);
                let made = made.step("make a folder of the new files")?;
                folders.insert(inner, made);
            }
        }
        let (above, name) = place(&folders, folder, path);
        write_file(above, name, file, group)?;
    }
    // Last: a folder is closed to others until its files have their owners and modes.
    for inner in folders.values() {
        give(inner.as_fd(), group).step("give a folder to the group")?;
    }
    give(folder, group).step("give the folder of the new files to the group")
}

/// The folder that a path is in, and its name there.
fn place<'a>(
    folders: &'a BTreeMap<&str, OwnedFd>,
    root: BorrowedFd<'a>,
    path: &'a str,
) -> (BorrowedFd<'a>, &'a str) {
    match path.rsplit_once('/') {
        Some((above, name)) => (folders.get(above).map_or(root, AsFd::as_fd), name),
        None => (root, path),
    }
}

fn make_folder(above: BorrowedFd<'_>, name: &str) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(above, name, Mode::RWXU)?;
    open_folder(above, name)
}

fn write_file(folder: BorrowedFd<'_>, name: &str, file: &File, group: Option<Gid>) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(folder, name, flags, Mode::WUSR);
    let mut made = StdFile::from(made.step("make a file")?);
    made.write_all(&file.value).step("write a file")?;
    let mode = mode_of(file, group);
    let owned = group.map_or(Ok(()), |group| rustix::fs::fchown(&made, None, Some(group)));
    owned.step("give a file to the group")?;
    rustix::fs::fchmod(&made, mode).step("set the mode of a file")
}

fn mode_of(file: &File, group: Option<Gid>) -> Mode {
    let mode = Mode::from_raw_mode(file.mode);
    group.map_or(mode, |_| mode | GROUP_READS)
}

/// Gives a folder its mode, and to the group.
fn give(folder: BorrowedFd<'_>, group: Option<Gid>) -> std::result::Result<(), Errno> {
    let mode = group.map_or(FOLDER, |_| FOLDER | GROUP_ENTERS);
    if let Some(group) = group {
        rustix::fs::fchown(folder, None, Some(group))?;
    }
    rustix::fs::fchmod(folder, mode)
}

/// Makes `name` a link to `target`, in one step for whoever looks.
fn link(root: BorrowedFd<'_>, target: &str, name: &str, group: Option<Gid>) -> Result<()> {
    let there = rustix::fs::readlinkat(root, name, Vec::with_capacity(MAX_TARGET));
    if there.is_ok_and(|there| there.as_bytes() == target.as_bytes()) {
        return Ok(());
    }
    rustix::fs::symlinkat(target, root, NEW_LINK).step("make a link")?;
    if group.is_some() {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let given = rustix::fs::chownat(root, NEW_LINK, None, group, flags);
        given.step("give a link to the group")?;
    }
    rustix::fs::renameat(root, NEW_LINK, root, name).step("put a link in its place")
}

/// Whether the files in the folder `name` are exactly those of `content`.
fn is_same(root: BorrowedFd<'_>, name: &str, content: &Content) -> bool {
    let Ok(folder) = open_folder(root, name) else {
        return false;
    };
    let mut seen = 0;
    let same = compare(folder.as_fd(), "", content, 0, &mut seen);
    same.unwrap_or(false) && seen == content.files().len()
}

/// Whether everything in a folder is in `content`; counts the files.
fn compare(
    folder: BorrowedFd<'_>,
    path: &str,
    content: &Content,
    depth: usize,
    seen: &mut usize,
) -> io::Result<bool> {
    for (name, kind) in entries(folder, depth)? {
        let path = format!("{path}{name}");
        if kind == FileType::Directory {
            let inner = open_folder(folder, &name)?;
            if !compare(inner.as_fd(), &format!("{path}/"), content, depth + 1, seen)? {
                return Ok(false);
            }
            continue;
        }
        let Some(file) = content.files().get(&path) else {
            return Ok(false);
        };
        if kind != FileType::RegularFile || !holds(folder, &name, file)? {
            return Ok(false);
        }
        *seen += 1;
    }
    Ok(true)
}

/// Whether a file has that value and mode. The group's right to read is no difference.
fn holds(folder: BorrowedFd<'_>, name: &str, file: &File) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = StdFile::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
    let status = rustix::fs::fstat(&found)?;
    let mode = Mode::from_raw_mode(status.st_mode) & Mode::from_raw_mode(0o777);
    let wanted = Mode::from_raw_mode(file.mode);
    let length = u64::try_from(status.st_size).ok();
    if mode | GROUP_READS != wanted | GROUP_READS || length != Some(file.value.len() as u64) {
        return Ok(false);
    }
    let mut value = Zeroizing::new(Vec::with_capacity(file.value.len() + 1));
    let limit = file.value.len() as u64 + 1;
    found.take(limit).read_to_end(&mut value)?;
    Ok(*value == **file.value)
}

/// Removes what one that was interrupted left. What is shown stays.
fn remove_others(root: BorrowedFd<'_>, current: Option<&str>, content: &Content) -> Result<()> {
    let names = content.names();
    for (name, kind) in entries(root, 0).step("list the volume")? {
        let kept = name == DATA && kind == FileType::Symlink || Some(name.as_str()) == current;
        // Where a link shall be, nothing else may be.
        let in_the_way = names.contains(name.as_str()) && kind != FileType::Symlink;
        if name.starts_with(OWN) && !kept || in_the_way {
            remove_tree(root, &name, 0).step("remove a leftover")?;
        }
    }
    Ok(())
}

/// Removes what is shown no more: links to keys that are gone, and old files.
fn remove_stale(root: BorrowedFd<'_>, current: Option<&str>, content: &Content) -> Result<()> {
    let names = content.names();
    for (name, _) in entries(root, 0).step("list the volume")? {
        let kept = name == DATA || Some(name.as_str()) == current || names.contains(name.as_str());
        if !kept {
            remove_tree(root, &name, 0).step("remove an old file")?;
        }
    }
    Ok(())
}

/// Removes a file, a link (never what it leads to), or a folder with all that is in it.
fn remove_tree(above: BorrowedFd<'_>, name: &str, depth: usize) -> io::Result<()> {
    match rustix::fs::unlinkat(above, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(()),
        removed => return Ok(removed?),
    }
    let folder = open_folder(above, name)?;
    for (inner, _) in entries(folder.as_fd(), depth)? {
        remove_tree(folder.as_fd(), &inner, depth + 1)?;
    }
    Ok(rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)?)
}

fn open_folder(above: BorrowedFd<'_>, name: &str) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(above, name, flags, Mode::empty())
}

/// What is in a folder.
fn entries(folder: BorrowedFd<'_>, depth: usize) -> io::Result<Vec<(String, FileType)>> {
    // A container that could write might have made folders that are deeper than the stack.
    if depth > MAX_DEPTH {
        return Err(io::Error::other("folders are too deep"));
    }
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => found.push((name.to_owned(), entry.file_type())),
            Err(_) => return Err(io::Error::other("a name is not UTF-8")),
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
