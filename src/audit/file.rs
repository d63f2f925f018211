//! A file of lines that is rotated by size.
//!
//! Full files get the next number (`audit.log.000001`, `audit.log.000002`, ...) and are never touched again until they are the
//! oldest of too many. A line is never split over two files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::chain::{Hash, MAX_LINE, Resumed, parse};
use super::sink::{Place, Sink};

/// Only the owner reads and writes it: names and contexts are not for everybody.
const MODE: u32 = 0o600;

/// When a line counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// When it is on the disk: it survives the loss of the machine's power.
    Always,
    /// When the kernel has it: it survives the end of the process.
    Never,
}

/// Where the file is, and how much of it is kept.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// The file that is written to now.
    pub path: PathBuf,
    /// Largest size of a file, in bytes; at least one line is in each.
    pub max_size: u64,
    /// How many full files are kept; 0 means all.
    pub keep: usize,
    /// When a line counts as written.
    pub fsync: Fsync,
}

/// The file. It is opened by the first [`Sink::prepare`], and again whenever somebody took it away.
pub struct FileSink {
    config: FileConfig,
    /// Held for as long as this process may write: two writers would tear each other's lines.
    lock: Option<File>,
    open: Option<Open>,
    /// Whether no line was written to this file yet.
    begins: bool,
    /// The end of what another process wrote, until a line of this one is written, which says it.
    resumes: Option<Resumed>,
}

struct Open {
    file: File,
    inode: (u64, u64),
    /// The end of the last whole line.
    len: u64,
    /// Whether the last line has no line break.
    torn: bool,
    /// Whether the last write failed: there may be bytes after `len`.
    dirty: bool,
}

impl FileSink {
    /// A sink for that file.
    pub fn new(config: FileConfig) -> Self {
        Self {
            config,
            lock: None,
            open: None,
            begins: false,
            resumes: None,
        }
    }

    /// The first opening: takes the lock, and finds the end of what is there.
    fn start(&mut self) -> io::Result<()> {
        if self.lock.is_none() {
            let path = suffixed(&self.config.path, "lock");
            let lock = options().create(true).open(path)?;
            lock.try_lock().map_err(|_| {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process writes it")
            })?;
            self.lock = Some(lock);
        }
        let mut open = open(&self.config)?;
        let mut end = End::of(&mut open.file)?;
        self.begins = open.len == 0;
        if open.len == 0
            && let Some(last) = rotated(&self.config.path)?.last()
        {
            end = End::of(&mut File::open(&last.1)?)?;
        }
        self.open = Some(open);
        self.resumes = end.resumed();
        Ok(())
    }

    /// The open file; a new one if somebody took the old one away, since lines in a file without a name are lost.
    fn current(&mut self) -> io::Result<&mut Open> {
        let found = match fs::symlink_metadata(&self.config.path) {
            Ok(found) => Some((found.dev(), found.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if self.open.as_ref().map(|open| open.inode) != found {
            self.open = None;
            self.open = Some(open(&self.config)?);
            self.begins = true;
        }
        self.open
            .as_mut()
            .ok_or_else(|| io::Error::other("it is not open"))
    }

    fn rotate(&mut self) -> io::Result<()> {
        let old = rotated(&self.config.path)?;
        let number = old.last().map_or(1, |(number, _)| number.saturating_add(1));
        fs::rename(
            &self.config.path,
            suffixed(&self.config.path, &format!("{number:06}")),
        )?;
        self.open = Some(open(&self.config)?);
        self.begins = true;
        if self.config.keep > 0 {
            // The one that was just filled is one of those that are kept.
            let surplus = (old.len() + 1).saturating_sub(self.config.keep);
            for (_, path) in old.iter().take(surplus) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.config.path.display().to_string()
    }

    fn prepare(&mut self, bytes: usize) -> io::Result<Place> {
        if self.open.is_none() {
            self.start()?;
        }
        let max_size = self.config.max_size;
        let open = self.current()?;
        if open.dirty {
            open.file.set_len(open.len)?;
            open.file.seek(SeekFrom::End(0))?;
            open.dirty = false;
        }
        if open.len > 0 && open.len.saturating_add(bytes as u64) > max_size {
            self.rotate()?;
        }
        Ok(Place {
            resumes: self.resumes.clone(),
            begins: self.begins,
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let fsync = self.config.fsync;
        let open = self
            .open
            .as_mut()
            .ok_or_else(|| io::Error::other("it is not open"))?;
        open.dirty = true;
        let mut written = lines.len() as u64;
        if open.torn {
            open.file.write_all(b"\n")?;
            written += 1;
        }
        open.file.write_all(lines)?;
        if fsync == Fsync::Always {
            open.file.sync_data()?;
        }
        open.len += written;
        (open.dirty, open.torn) = (false, false);
        (self.begins, self.resumes) = (false, None);
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(MODE);
    options
}

/// Opens the file, or makes it, and makes sure that nobody else reads it.
fn open(config: &FileConfig) -> io::Result<Open> {
    let path = &config.path;
    let file = options().create(true).open(path)?;
    let found = file.metadata()?;
    let named = fs::symlink_metadata(path)?;
    if !named.is_file() {
        // A link could lead the lines, or the change of mode, to a file of somebody else.
        let problem = "it is no regular file; name one, or a name in a folder that is there";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    if found.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
    }
    if found.len() == 0 && config.fsync == Fsync::Always {
        // It may just have been made, and what was renamed to make room for it is not there yet either.
        sync_folder(path)?;
    }
    Ok(Open {
        inode: (found.dev(), found.ino()),
        len: found.len(),
        torn: !is_ended(&file, found.len())?,
        dirty: false,
        file,
    })
}

/// Whether the last line of a file of that length has its line break.
fn is_ended(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = len.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last == [b'\n'])
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new name is on the disk only when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// The full files, oldest first.
fn rotated(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let prefix = format!(
        "{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(&prefix).filter(|n| n.len() >= 6);
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The end of a log.
struct End {
    /// The hash of the last whole line.
    hash: Hash,
    /// How many bytes come after it.
    torn: u64,
    /// Whether there is anything at all.
    empty: bool,
}

impl End {
    /// Looks back from the end of a file for a whole line, as far as the longest one could reach.
    fn of(file: &mut File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let from = len.saturating_sub(2 * MAX_LINE as u64);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        file.take(2 * MAX_LINE as u64).read_to_end(&mut tail)?;
        let mut end = tail.len();
        while let Some(line_end) = tail[..end].iter().rposition(|byte| *byte == b'\n') {
            let start = tail[..line_end].iter().rposition(|byte| *byte == b'\n');
            let line = &tail[start.map_or(0, |at| at + 1)..line_end];
            if let Ok(parsed) = parse(line) {
                return Ok(Self {
                    hash: parsed.computed,
                    torn: (tail.len() - line_end - 1) as u64,
                    empty: false,
                });
            }
            end = line_end;
        }
        Ok(Self {
            hash: Hash::ZERO,
            torn: len,
            empty: len == 0,
        })
    }

    fn resumed(self) -> Option<Resumed> {
        (!self.empty).then(|| Resumed {
            hash: self.hash.to_string(),
            torn_bytes: self.torn,
        })
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
