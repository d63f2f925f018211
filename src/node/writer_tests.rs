use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::node::testing::content;

/// 2026-01-02T03:04:05.678Z
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_767_323_045_678)
}

struct Volume(tempfile::TempDir);

impl Volume {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn root(&self) -> StdFile {
        StdFile::open(self.path()).unwrap()
    }

    fn write(&self, content: &Content) -> Written {
        self.write_at(content, now())
    }

    fn write_at(&self, content: &Content, now: SystemTime) -> Written {
        write(self.root(), content, None, now).unwrap()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// Everything in the volume, with what links lead to.
    fn listing(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        list(self.path(), self.path(), &mut found);
        found
    }
}

fn list(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if let Ok(target) = fs::read_link(&path) {
            found.insert(format!("{name} -> {}", target.display()));
        } else if path.is_dir() {
            found.insert(format!("{name}/"));
            list(root, &path, found);
        } else {
            found.insert(name);
        }
    }
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_are_written_as_kubelet_writes_them() {
    let volume = Volume::new();
    let items = r#"[{"key":"a","path":"password","mode":256},{"key":"b","path":"tls/deep/key"}]"#;
    let files = content(
        &[("secret", "db"), ("items", items)],
        &[("a", "1"), ("b", "2")],
    );
    assert_eq!(volume.write(&files), Written::New);
    let stamp = "..1767323045.678000000";
    let expected = [
        format!("..data -> {stamp}"),
        format!("{stamp}/"),
        format!("{stamp}/password"),
        format!("{stamp}/tls/"),
        format!("{stamp}/tls/deep/"),
        format!("{stamp}/tls/deep/key"),
        "password -> ..data/password".to_owned(),
        "tls -> ..data/tls".to_owned(),
    ];
    assert_eq!(volume.listing(), BTreeSet::from(expected));
    assert_eq!(
        (volume.read("password"), volume.read("tls/deep/key")),
        ("1".into(), "2".into())
    );
    assert_eq!(mode(volume.path().join("password")), 0o400);
    assert_eq!(mode(volume.path().join("tls/deep/key")), 0o644);
    assert_eq!(mode(volume.path().join("tls")), 0o755);
}

#[test]
fn what_is_right_is_not_written_again() {
    let volume = Volume::new();
    let files = content(&[("secret", "db")], &[("a", "1"), ("b", "2")]);
    volume.write(&files);
    let before = volume.listing();
    assert_eq!(volume.write(&files), Written::Same);
    assert_eq!(volume.listing(), before);
}

#[test]
fn any_difference_is_written() {
    let volume = Volume::new();
    let attributes = [("secret", "db")];
    volume.write(&content(&attributes, &[("a", "1")]));
    for files in [
        content(&attributes, &[("a", "2")]),
        content(&attributes, &[("a", "2"), ("b", "")]),
        content(&attributes, &[("b", "")]),
        content(&[("secret", "db"), ("defaultMode", "0600")], &[("b", "")]),
        content(&attributes, &[]),
    ] {
        assert_eq!(volume.write(&files), Written::New);
        assert_eq!(volume.write(&files), Written::Same);
    }
}

#[test]
fn keys_that_are_gone_disappear_with_their_links() {
    let volume = Volume::new();
    volume.write(&content(&[("secret", "db")], &[("a", "1"), ("b", "2")]));
    volume.write(&content(&[("secret", "db")], &[("b", "3")]));
    let names: Vec<_> = fs::read_dir(volume.path()).unwrap().collect();
    assert_eq!(names.len(), 3, "{:?}", volume.listing());
    assert_eq!(volume.read("b"), "3");
    assert!(!volume.path().join("a").exists());
}

#[test]
fn a_reader_sees_all_old_files_or_all_new_ones() {
    let volume = Volume::new();
    let version = |number: usize| {
        let text = format!("{number}").repeat(2000);
        content(&[("secret", "db")], &[("a", &text), ("b", &text)])
    };
    volume.write(&version(0));
    let path = volume.path().to_owned();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1..200 {
                // No folder has the name of an earlier one, since time goes on.
                volume.write_at(&version(number % 10), SystemTime::now());
            }
        });
        while !writer.is_finished() {
            // What an open folder holds is one version, as long as it is there.
            let Ok(folder) = fs::canonicalize(path.join("..data")) else {
                continue;
            };
            let read = |name| fs::read_to_string(folder.join(name));
            if let (Ok(a), Ok(b)) = (read("a"), read("b")) {
                assert_eq!(a, b);
                assert_eq!(a.len() % 2000, 0);
            }
        }
    });
}

#[test]
fn a_file_that_a_reader_has_open_keeps_its_old_value() {
    let volume = Volume::new();
    volume.write(&content(&[("secret", "db")], &[("a", "old")]));
    let mut open = StdFile::open(volume.path().join("a")).unwrap();
    volume.write(&content(&[("secret", "db")], &[("a", "new")]));
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "old");
}

#[test]
fn after_an_interruption_anywhere_the_next_one_ends_with_the_same_files() {
    let new = content(&[("secret", "db")], &[("b", "2"), ("c", "3")]);
    let leave: [fn(&Path); 9] = [
        |path| fs::create_dir(path.join("..2020_01_01_00_00_00.1")).unwrap(),
        |path| {
            let folder = path.join("..2020_01_01_00_00_00.1/deep/er");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("half"), "hal").unwrap();
        },
        |path| symlink("..2020_01_01_00_00_00.1", path.join("..new")).unwrap(),
        // The new files count, and their links are not there yet.
        |path| {
            let folder = path.join("..2020_01_01_00_00_00.1");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("b"), "2").unwrap();
            fs::remove_file(path.join("..data")).unwrap();
            symlink("..2020_01_01_00_00_00.1", path.join("..data")).unwrap();
        },
        |path| fs::remove_file(path.join("..data")).unwrap(),
        |path| fs::remove_file(path.join("b")).unwrap(),
        |path| {
            let old = fs::canonicalize(path.join("..data")).unwrap();
            fs::remove_dir_all(old).unwrap();
        },
        |path| symlink("..data/gone", path.join("gone")).unwrap(),
        |path| {
            fs::remove_file(path.join("b")).unwrap();
            fs::create_dir(path.join("b")).unwrap();
        },
    ];
    let expected = Volume::new();
    expected.write(&new);
    for (number, leave) in leave.into_iter().enumerate() {
        let volume = Volume::new();
        volume.write(&content(&[("secret", "db")], &[("a", "1"), ("b", "1")]));
        leave(volume.path());
        volume.write(&new);
        let names = |volume: &Volume| {
            let names = fs::read_dir(volume.path()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names
                .map(|name| name[..1].to_owned())
                .collect::<Vec<_>>()
                .len()
        };
        assert_eq!(
            names(&volume),
            names(&expected),
            "{number}: {:?}",
            volume.listing()
        );
        assert_eq!(
            (volume.read("b"), volume.read("c")),
            ("2".into(), "3".into()),
            "{number}"
        );
    }
}

#[test]
fn a_group_reads_files_and_enters_folders() {
    let volume = Volume::new();
    let group = fs::metadata(volume.path()).unwrap().gid() + 1;
    let items = r#"[{"key":"a","path":"x/a","mode":256}]"#;
    let files = content(&[("secret", "db"), ("items", items)], &[("a", "1")]);
    let given = write(volume.root(), &files, Some(Gid::from_raw(group)), now());
    if let Err(WriteError::Step { error, .. }) = &given
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        eprintln!("SKIPPED, since only root may give files to another group");
        return;
    }
    given.unwrap();
    for path in ["", "..data", "x", "x/a"] {
        assert_eq!(
            fs::metadata(volume.path().join(path)).unwrap().gid(),
            group,
            "{path}"
        );
    }
    assert_eq!(mode(volume.path().join("x/a")), 0o440);
    assert_eq!(mode(volume.path().join("x")), 0o2755);
    assert_eq!(mode(volume.path().to_owned()), 0o2755);
    let again = write(volume.root(), &files, Some(Gid::from_raw(group)), now());
    assert_eq!(again.unwrap(), Written::Same);
}

#[test]
fn links_that_a_container_made_lead_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let precious = outside.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let files = content(&[("secret", "db")], &[("a", "1"), ("b", "2")]);
    let traps: [fn(&Path, &Path); 4] = [
        |path, outside| {
            fs::remove_file(path.join("..data")).unwrap();
            symlink(outside, path.join("..data")).unwrap();
        },
        |path, outside| {
            fs::remove_file(path.join("a")).unwrap();
            symlink(outside.join("precious"), path.join("a")).unwrap();
        },
        |path, outside| {
            let inner = fs::canonicalize(path.join("..data")).unwrap();
            fs::remove_file(inner.join("a")).unwrap();
            symlink(outside.join("precious"), inner.join("a")).unwrap();
        },
        |path, outside| {
            let inner = fs::canonicalize(path.join("..data")).unwrap();
            let name = inner.file_name().unwrap();
            fs::remove_dir_all(&inner).unwrap();
            symlink(outside, path.join(name)).unwrap();
        },
    ];
    for (number, trap) in traps.into_iter().enumerate() {
        let volume = Volume::new();
        volume.write(&content(&[("secret", "db")], &[("a", "0"), ("b", "0")]));
        trap(volume.path(), outside.path());
        volume.write(&files);
        assert_eq!(
            (volume.read("a"), volume.read("b")),
            ("1".into(), "2".into()),
            "{number}"
        );
        let kept: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
        assert_eq!(kept.len(), 1, "{number}");
        assert_eq!(
            fs::read_to_string(&precious).unwrap(),
            "precious",
            "{number}"
        );
    }
}

#[test]
fn what_was_never_written_is_not() {
    let volume = Volume::new();
    assert!(!is_written(volume.root()));
    symlink("..gone", volume.path().join("..data")).unwrap();
    assert!(!is_written(volume.root()));
    volume.write(&content(&[("secret", "db")], &[]));
    assert!(is_written(volume.root()));
}
