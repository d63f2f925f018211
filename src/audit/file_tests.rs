use std::os::unix::fs::PermissionsExt;

use super::super::chain::Chain;
use super::super::record::{Entry, EventSource, Identity};
use super::*;

fn sink(folder: &Path, max_size: u64, keep: usize) -> FileSink {
    FileSink::new(FileConfig {
        path: folder.join("audit.log"),
        max_size,
        keep,
        fsync: Fsync::Always,
    })
}

fn line(chain: &mut Chain) -> Vec<u8> {
    let entry = Entry::allowed(EventSource::Kms, "Decrypt", Identity::controller(), "r");
    let mut line = Vec::new();
    chain.append("2026-11-25T10:00:00Z", entry, None, &mut line);
    line
}

fn chain() -> Chain {
    Chain::new("c".repeat(32), "pod".to_owned())
}

/// A process that writes one line and ends.
fn write_one(folder: &Path, chain: &mut Chain) {
    let mut sink = sink(folder, 10_000, 0);
    sink.prepare(10).unwrap();
    sink.write(&line(chain)).unwrap();
}

#[test]
fn nobody_else_may_read_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut sink = sink(folder.path(), 1000, 0);
    sink.prepare(10).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let lock = fs::metadata(folder.path().join("audit.log.lock")).unwrap();
    assert_eq!(lock.mode() & 0o777, 0o600);
}

#[test]
fn two_processes_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = sink(folder.path(), 1000, 0);
    first.prepare(10).unwrap();
    let mut second = sink(folder.path(), 1000, 0);
    assert_eq!(
        second.prepare(10).unwrap_err().kind(),
        io::ErrorKind::ResourceBusy
    );
    drop(first);
    second.prepare(10).unwrap();
}

#[test]
fn a_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    fs::write(&other, "precious").unwrap();
    std::os::unix::fs::symlink(&other, folder.path().join("audit.log")).unwrap();
    let mut sink = sink(folder.path(), 1000, 0);
    assert_eq!(
        sink.prepare(10).unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
    assert_eq!(fs::read(&other).unwrap(), b"precious");
}

#[test]
fn full_files_are_numbered_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = sink(folder.path(), 20, 2);
    for number in 0..5 {
        let place = sink.prepare(12).unwrap();
        assert!(place.begins, "every line has a file of its own here");
        sink.write(format!("line no. {number}\n").as_bytes())
            .unwrap();
    }
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("audit.log"), "line no. 4\n");
    assert_eq!(read("audit.log.000004"), "line no. 3\n");
    assert_eq!(read("audit.log.000003"), "line no. 2\n");
    assert!(!folder.path().join("audit.log.000002").exists());
}

#[test]
fn the_next_process_goes_on_after_the_last_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut chain = chain();
    let mut first = sink(folder.path(), 10_000, 0);
    assert_eq!(first.prepare(10).unwrap().resumes, None);
    first.write(&line(&mut chain)).unwrap();
    first.write(&line(&mut chain)).unwrap();
    let end = chain.last().to_string();
    drop(first);
    // Killed in the middle of a line, twice.
    for torn in [9, 19] {
        let mut torn_file = OpenOptions::new().append(true).open(&path).unwrap();
        torn_file.write_all(b"{\"stream\"").unwrap();
        let mut next = sink(folder.path(), 10_000, 0);
        let resumed = next.prepare(10).unwrap().resumes.unwrap();
        assert_eq!((resumed.hash, resumed.torn_bytes), (end.clone(), torn));
        if torn == 9 {
            next.write(b"").unwrap();
        }
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("}}\n{\"stream\"\n{\"stream\""), "{text}");
}

#[test]
fn a_process_killed_between_two_files_goes_on_after_the_older() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = chain();
    write_one(folder.path(), &mut chain);
    let path = folder.path().join("audit.log");
    fs::rename(&path, folder.path().join("audit.log.000001")).unwrap();
    let resumed = sink(folder.path(), 10_000, 0).prepare(10).unwrap().resumes;
    assert_eq!(resumed.unwrap().hash, chain.last().to_string());
}

#[test]
fn a_folder_that_is_taken_away_is_noticed_and_one_that_is_back_is_gone_on() {
    let outer = tempfile::tempdir().unwrap();
    let (folder, away) = (outer.path().join("log"), outer.path().join("away"));
    fs::create_dir(&folder).unwrap();
    let mut sink = sink(&folder, 10_000, 0);
    sink.prepare(10).unwrap();
    sink.write(b"one\n").unwrap();
    fs::rename(&folder, &away).unwrap();
    assert!(sink.prepare(10).is_err());
    fs::rename(&away, &folder).unwrap();
    assert!(!sink.prepare(10).unwrap().begins, "it is the same file");
    fs::remove_file(folder.join("audit.log")).unwrap();
    assert!(sink.prepare(10).unwrap().begins, "a new file begins");
    sink.write(b"two\n").unwrap();
    assert_eq!(fs::read(folder.join("audit.log")).unwrap(), b"two\n");
}

#[test]
fn what_is_gone_on_is_told_until_a_line_that_says_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = chain();
    write_one(folder.path(), &mut chain);
    let mut next = sink(folder.path(), 10_000, 0);
    for when in ["the first", "after one that failed"] {
        let resumed = next.prepare(10).unwrap().resumes;
        assert_eq!(resumed.unwrap().hash, chain.last().to_string(), "{when}");
    }
    next.write(&line(&mut chain)).unwrap();
    assert_eq!(next.prepare(10).unwrap().resumes, None);
}

#[test]
fn a_line_begins_a_line_also_in_a_file_that_somebody_put_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut sink = sink(folder.path(), 10_000, 0);
    sink.prepare(10).unwrap();
    sink.write(b"one\n").unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "half a l").unwrap();
    sink.prepare(10).unwrap();
    sink.write(b"two\n").unwrap();
    sink.prepare(10).unwrap();
    sink.write(b"three\n").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"half a l\ntwo\nthree\n");
}

#[test]
fn what_a_failed_write_left_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = sink(folder.path(), 10_000, 0);
    sink.prepare(10).unwrap();
    sink.write(b"whole\n").unwrap();
    // As a disk that was full in the middle of a line leaves it.
    let open = sink.open.as_mut().unwrap();
    open.file.write_all(b"ha").unwrap();
    open.dirty = true;
    sink.prepare(10).unwrap();
    sink.write(b"next\n").unwrap();
    let text = fs::read(folder.path().join("audit.log")).unwrap();
    assert_eq!(text, b"whole\nnext\n");
}
