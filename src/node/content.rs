//! Which files a volume has, of what it asks for and what its secrets hold. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::api::volume::{FileMode, VolumeItem, VolumeRequest, VolumeSource, clean_path};
use crate::secrets::value::check_key_name;

/// Most bytes in the files of one volume: 64 secrets of 256 KiB.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A value, wiped when nobody has it any more.
pub(super) type Value = Arc<Zeroizing<Vec<u8>>>;

/// What the server gave of a secret.
#[derive(Clone)]
pub(super) struct Fetched {
    /// The id of the version.
    pub(super) version: String,
    /// What changes whenever the files would.
    pub(super) revision: String,
    /// The values by key.
    pub(super) data: BTreeMap<String, Value>,
}

/// A file.
#[derive(Clone)]
pub(super) struct File {
    /// What it holds.
    pub(super) value: Value,
    /// Its permission bits.
    pub(super) mode: u32,
}

/// The files of a volume by their path, which is relative and clean.
#[derive(Clone, Default)]
pub(super) struct Content(BTreeMap<String, File>);

/// Why a volume cannot have the files that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentError {
    /// An item names a key that is not there.
    #[error(
        "secret {secret} has no key {key:?}: correct the item, add the key, or make the volume optional"
    )]
    NoKey {
        /// The secret.
        secret: String,
        /// The key.
        key: String,
    },
    /// A key cannot be the name of a file.
    #[error(
        "the key {key:?} of secret {secret} cannot be the name of a file: give it a path in an item"
    )]
    KeyName {
        /// The secret.
        secret: String,
        /// The key.
        key: String,
    },
    /// A file would be a folder as well.
    #[error("{0:?} would be a file and a folder: give one of the items another path")]
    FileAndFolder(String),
    /// Too much.
    #[error("the files of a volume have at most {MAX_BYTES} bytes together, these have {0}")]
    TooLarge(usize),
}

/// What files need in a file system in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes, in whole pages.
    pub(super) bytes: u64,
    /// Files, folders and links.
    pub(super) inodes: u64,
}

impl Content {
    /// The files that `request` asks for. `fetched` has what there is of each of its sources, in their order; `None` where an
    /// optional secret is not there.
    ///
    /// # Errors
    /// A key is missing, or files are in each other's way.
    pub(super) fn compose(
        request: &VolumeRequest,
        fetched: &[Option<Fetched>],
    ) -> Result<Self, ContentError> {
        let mut files = BTreeMap::new();
        let default_mode = request.default_mode().bits();
        for (source, fetched) in request.sources().iter().zip(fetched) {
            let Some(fetched) = fetched else { continue };
            if source.items.is_empty() {
                files.extend(all(source, fetched, default_mode)?);
            }
            for item in &source.items {
                if let Some((path, file)) = chosen(source, item, fetched, default_mode)? {
                    files.insert(path, file);
                }
            }
        }
        check_folders(&files)?;
        let bytes = files.values().map(|file| file.value.len()).sum();
        if bytes > MAX_BYTES {
            return Err(ContentError::TooLarge(bytes));
        }
        Ok(Self(files))
    }

    /// The files by their path.
    pub(super) fn files(&self) -> &BTreeMap<String, File> {
        &self.0
    }

    /// The names that are seen in the volume's own folder.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|path| first(path)).collect()
    }

    /// What they need where a page has that many bytes.
    pub(super) fn room(&self, page: u64) -> Room {
        let sizes = self.0.values().map(|file| file.value.len() as u64);
        let bytes: u64 = sizes.map(|size| size.div_ceil(page) * page).sum();
        // The target of a long link takes a page, too.
        let (names, folders) = (self.names().len() as u64, folders(&self.0).len() as u64);
        Room {
            bytes: bytes + names * page,
            inodes: self.0.len() as u64 + names + folders,
        }
    }
}

fn first(path: &str) -> &str {
    path.split_once('/').map_or(path, |(first, _)| first)
}

fn all(
    source: &VolumeSource,
    fetched: &Fetched,
    mode: u32,
) -> Result<Vec<(String, File)>, ContentError> {
    let file = |(key, value): (&String, &Value)| {
        // What begins with `..` is the writer's own, and no key begins so.
        if check_key_name(key).is_err() {
            let (secret, key) = (source.secret.clone(), key.clone());
            return Err(ContentError::KeyName { secret, key });
        }
        let value = value.clone();
        Ok((key.clone(), File { value, mode }))
    };
    fetched.data.iter().map(file).collect()
}

fn chosen(
    source: &VolumeSource,
    item: &VolumeItem,
    fetched: &Fetched,
    default_mode: u32,
) -> Result<Option<(String, File)>, ContentError> {
    let Some(value) = fetched.data.get(&item.key) else {
        if source.optional {
            return Ok(None);
        }
        return Err(ContentError::NoKey {
            secret: source.secret.clone(),
            key: item.key.clone(),
        });
    };
    let file = File {
        value: value.clone(),
        mode: item.mode.map_or(default_mode, FileMode::bits),
    };
    Ok(Some((clean_path(&item.path), file)))
}

/// The folders that the files are in, without the volume's own.
fn folders(files: &BTreeMap<String, File>) -> BTreeSet<&str> {
    files
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end]))
        .collect()
}

fn check_folders(files: &BTreeMap<String, File>) -> Result<(), ContentError> {
    let both = folders(files)
        .into_iter()
        .find(|folder| files.contains_key(*folder));
    both.map_or(Ok(()), |path| {
        Err(ContentError::FileAndFolder(path.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{fetched, request};

    fn paths(content: &Content) -> Vec<(&str, &[u8], u32)> {
        let files = content.0.iter();
        files
            .map(|(path, file)| (path.as_str(), file.value.as_slice(), file.mode))
            .collect()
    }

    #[test]
    fn every_key_is_a_file_when_nothing_else_is_said() {
        let request = request(&[("secret", "db"), ("defaultMode", "0440")]);
        let content = Content::compose(&request, &[Some(fetched(&[("a", "1"), ("b", "2")]))]);
        let content = content.unwrap();
        assert_eq!(
            paths(&content),
            [("a", b"1".as_slice(), 0o440), ("b", b"2", 0o440)]
        );
    }

    #[test]
    fn items_choose_keys_paths_and_modes() {
        let items = r#"[{"key":"a","path":"./x//y","mode":256},{"key":"a","path":"z"}]"#;
        let request = request(&[("secret", "db"), ("items", items)]);
        let content = Content::compose(&request, &[Some(fetched(&[("a", "1"), ("b", "2")]))]);
        let content = content.unwrap();
        assert_eq!(
            paths(&content),
            [("x/y", b"1".as_slice(), 0o400), ("z", b"1", 0o644)]
        );
        assert_eq!(content.names(), BTreeSet::from(["x", "z"]));
    }

    #[test]
    fn a_missing_key_is_named_unless_the_volume_is_optional() {
        let items = r#"[{"key":"a","path":"a"},{"key":"gone","path":"g"}]"#;
        let there = [Some(fetched(&[("a", "1")]))];
        let strict = request(&[("secret", "db"), ("items", items)]);
        let refused = Content::compose(&strict, &there).err().unwrap().to_string();
        assert!(
            refused.contains("db") && refused.contains("gone"),
            "{refused}"
        );
        let optional = request(&[("secret", "db"), ("items", items), ("optional", "true")]);
        let content = Content::compose(&optional, &there).unwrap();
        assert_eq!(paths(&content), [("a", b"1".as_slice(), 0o644)]);
    }

    #[test]
    fn an_optional_secret_that_is_not_there_has_no_files() {
        let sources = r#"[{"secret":"a"},{"secret":"b","optional":true}]"#;
        let request = request(&[("sources", sources)]);
        let content = Content::compose(&request, &[Some(fetched(&[("k", "1")])), None]).unwrap();
        assert_eq!(paths(&content), [("k", b"1".as_slice(), 0o644)]);
    }

    #[test]
    fn of_two_secrets_with_one_key_the_later_one_wins() {
        let request = request(&[("sources", r#"[{"secret":"a"},{"secret":"b"}]"#)]);
        let there = [Some(fetched(&[("k", "1")])), Some(fetched(&[("k", "2")]))];
        let content = Content::compose(&request, &there).unwrap();
        assert_eq!(paths(&content), [("k", b"2".as_slice(), 0o644)]);
    }

    #[test]
    fn a_key_is_not_both_file_and_folder() {
        let sources = r#"[{"secret":"a"},{"secret":"b","items":[{"key":"k","path":"k/x"}]}]"#;
        let request = request(&[("sources", sources)]);
        let there = [Some(fetched(&[("k", "1")])), Some(fetched(&[("k", "2")]))];
        let refused = Content::compose(&request, &there).err().unwrap();
        assert_eq!(refused, ContentError::FileAndFolder("k".to_owned()));
    }

    #[test]
    fn a_key_that_is_no_file_name_needs_a_path() {
        for key in ["..data", ".", "a/b", "", "a b"] {
            let there = [Some(fetched(&[(key, "1")]))];
            let refused = Content::compose(&request(&[("secret", "db")]), &there).err();
            assert!(
                matches!(refused, Some(ContentError::KeyName { .. })),
                "{key:?}"
            );
        }
    }

    #[test]
    fn the_size_of_a_volume_is_bounded() {
        let large = "x".repeat(MAX_BYTES / 2 + 1);
        let there = [Some(fetched(&[("a", &large), ("b", &large)]))];
        let refused = Content::compose(&request(&[("secret", "db")]), &there).err();
        assert!(matches!(refused, Some(ContentError::TooLarge(_))));
    }

    #[test]
    fn room_is_counted_in_pages_and_with_folders_and_links() {
        let items = r#"[{"key":"a","path":"x/y/a"},{"key":"b","path":"b"}]"#;
        let request = request(&[("secret", "db"), ("items", items)]);
        let there = [Some(fetched(&[("a", "1"), ("b", &"2".repeat(4097))]))];
        let content = Content::compose(&request, &there).unwrap();
        let expected = Room {
            bytes: 4096 + 8192 + 2 * 4096,
            inodes: 2 + 2 + 2,
        };
        assert_eq!(content.room(4096), expected);
    }
}
