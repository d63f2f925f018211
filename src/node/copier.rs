//! The env copier: an init container that makes the files which kubelet reads variables from.
//!
//! It copies values from a volume of the CSI driver into a volume in memory, each into a file of its own, in the form that kubelet
//! reads. It needs no network, no token and no right; started again, it does the same again. What cannot be a variable is refused
//! here too, since a value may have changed since the pod was admitted, and no file is better than a wrong value.
//!
//! It ends with 0 when all files are there, with 2 when its arguments make no sense, and else with 1; kubelet then starts it
//! again, so that a value that is corrected arrives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::bail;
use zeroize::Zeroizing;

use crate::api::volume::MAX_ITEMS;
use crate::inject::env::{self, MAX_VALUE, Undeliverable};

/// The file that the next one is written into before it takes its place. No secret can have its name.
const NEW: &str = ".new";
/// kubelet reads the files as root; nobody else has to.
const FILE_MODE: u32 = 0o400;
const FOLDER_MODE: u32 = 0o700;

/// Makes the files that a pod's environment variables are read from.
#[derive(clap::Args, Clone, Debug)]
pub struct CopyArgs {
    /// The folder with the values, in a file `SECRET/KEY` each
    #[arg(long)]
    source: PathBuf,
    /// The folder that gets a file of the same name for each
    #[arg(long)]
    target: PathBuf,
    /// A value without which the pod starts, as SECRET/KEY; may be repeated
    #[arg(long, value_name = "FILE", value_parser = value_name)]
    optional: Vec<ValueName>,
    /// A value, as SECRET/KEY
    #[arg(value_name = "FILE", value_parser = value_name)]
    files: Vec<ValueName>,
}

/// The name of a value: the `ManagedSecret`, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ValueName {
    secret: String,
    key: String,
}

impl ValueName {
    fn below(&self, folder: &Path) -> PathBuf {
        folder.join(&self.secret).join(&self.key)
    }
}

/// Why a value did not become a file. Never says anything of the value but what is wrong with it.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(
        "key {key} of ManagedSecret {secret} cannot be an environment variable, since {reason}: mount the secret as a volume, \
         change the value, or set spec.target.form: Plain on it"
    )]
    Undeliverable {
        secret: String,
        key: String,
        reason: Undeliverable,
    },
    #[error(
        "key {key} of ManagedSecret {secret} is not there: add it to the secret, or make the variables that need it optional"
    )]
    Missing { secret: String, key: String },
    #[error("cannot read key {key} of ManagedSecret {secret}: {error}")]
    Read {
        secret: String,
        key: String,
        error: io::Error,
    },
    #[error("cannot write the file of key {key} of ManagedSecret {secret}: {error}")]
    Write {
        secret: String,
        key: String,
        error: io::Error,
    },
}

/// Copies all values that can be copied.
///
/// # Errors
/// Some cannot be; all of them are named.
pub fn run(args: &CopyArgs) -> anyhow::Result<()> {
    let count = args.files.len() + args.optional.len();
    if count > MAX_ITEMS {
        bail!("{count} values were asked for, of at most {MAX_ITEMS}");
    }
    let certain = args.files.iter().map(|name| (name, Presence::Required));
    let optional = args.optional.iter().map(|name| (name, Presence::Optional));
    let failed: Vec<_> = certain
        .chain(optional)
        .filter_map(|(name, presence)| copy(args, name, presence).err())
        .map(|error| error.to_string())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!(failed.join("\n"))
}

#[derive(Clone, Copy)]
enum Presence {
    Required,
    Optional,
}

fn copy(args: &CopyArgs, name: &ValueName, presence: Presence) -> Result<(), CopyError> {
    let ValueName { secret, key } = name.clone();
    let content = match (read(&name.below(&args.source)), presence) {
        (Ok(Some(value)), _) => env::file(&value).map_err(|reason| CopyError::Undeliverable {
            secret: secret.clone(),
            key: key.clone(),
            reason,
        })?,
        // kubelet leaves a variable out whose file is there and empty; without the file the container would not start.
        (Ok(None), Presence::Optional) => Zeroizing::new(Vec::new()),
        (Ok(None), Presence::Required) => return Err(CopyError::Missing { secret, key }),
        (Err(error), _) => return Err(CopyError::Read { secret, key, error }),
    };
    write(&args.target, name, &content).map_err(|error| CopyError::Write { secret, key, error })
}

/// A value, or as much of one that is too long as shows that it is; nothing if it is not there.
fn read(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // All of it at once: a buffer that grows would leave copies of the value behind.
    let mut value = Zeroizing::new(vec![0; MAX_VALUE + 1]);
    let mut length = 0;
    while length < value.len() {
        match file.read(&mut value[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    value.truncate(length);
    Ok(Some(value))
}

/// Writes a file whole or not at all.
fn write(target: &Path, name: &ValueName, content: &[u8]) -> io::Result<()> {
    let new = target.join(NEW);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&new);
    file?.write_all(content)?;
    let mut folders = DirBuilder::new();
    let folders = folders.recursive(true).mode(FOLDER_MODE);
    folders.create(target.join(&name.secret))?;
    fs::rename(&new, name.below(target))
}

/// Reads `SECRET/KEY`, both of which are names of files and no more.
fn value_name(text: &str) -> Result<ValueName, String> {
    let is_name = |part: &&str| !part.is_empty() && !part.starts_with("..") && *part != ".";
    let mut parts = text.split('/');
    match (
        parts.next().filter(is_name),
        parts.next().filter(is_name),
        parts.next(),
    ) {
        (Some(secret), Some(key), None) => Ok(ValueName {
            secret: secret.to_owned(),
            key: key.to_owned(),
        }),
        _ => Err("a value is named SECRET/KEY".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use clap::Parser;
    use tempfile::TempDir;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: CopyArgs,
    }

    /// A volume as the CSI driver makes it, and an empty one.
    struct Volumes {
        source: TempDir,
        target: TempDir,
    }

    impl Volumes {
        fn of(values: &[(&str, &[u8])]) -> Self {
            let volumes = Self {
                source: TempDir::new().unwrap(),
                target: TempDir::new().unwrap(),
            };
            symlink("..1", volumes.source.path().join("..data")).unwrap();
            for (name, value) in values {
                volumes.put(name, value);
            }
            volumes
        }

        fn put(&self, name: &str, value: &[u8]) {
            let (secret, _) = name.split_once('/').unwrap();
            let file = self.source.path().join("..1").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, value).unwrap();
            let shown = self.source.path().join(secret);
            let _ = symlink(format!("..data/{secret}"), shown);
        }

        fn run(&self, files: &[&str]) -> anyhow::Result<()> {
            let source = format!("--source={}", self.source.path().display());
            let target = format!("--target={}", self.target.path().display());
            let words = ["copy-env", &source, &target].into_iter();
            let cli = Cli::try_parse_from(words.chain(files.iter().copied()))?;
            run(&cli.args)
        }

        fn made(&self, name: &str) -> Option<Vec<u8>> {
            fs::read(self.target.path().join(name)).ok()
        }
    }

    #[test]
    fn each_value_becomes_a_file_that_only_its_owner_reads() {
        let volumes = Volumes::of(&[
            ("db/password", b"pw$(A)\n"),
            ("db/user", b"orders"),
            ("tls/tls.key", b"k"),
        ]);
        volumes.run(&["db/password", "tls/tls.key"]).unwrap();
        assert_eq!(volumes.made("db/password").unwrap(), b"value='pw$(A)\n'\n");
        assert_eq!(volumes.made("tls/tls.key").unwrap(), b"value='k'\n");
        assert_eq!(volumes.made("db/user"), None, "nobody asked for it");
        let mode = |name: &str| {
            let path = volumes.target.path().join(name);
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("db/password"), mode("db")), (0o400, 0o700));
    }

    #[test]
    fn started_again_it_writes_what_is_there_then() {
        let volumes = Volumes::of(&[("db/password", b"one")]);
        volumes.run(&["db/password"]).unwrap();
        fs::write(volumes.target.path().join(NEW), b"half of what was wri").unwrap();
        volumes.put("db/password", b"two");
        volumes.run(&["db/password"]).unwrap();
        assert_eq!(volumes.made("db/password").unwrap(), b"value='two'\n");
        assert_eq!(volumes.made(NEW), None);
    }

    #[test]
    fn an_optional_value_that_is_not_there_is_an_empty_file() {
        let volumes = Volumes::of(&[("db/password", b"one")]);
        volumes
            .run(&["--optional=db/none", "--optional=gone/key", "db/password"])
            .unwrap();
        assert_eq!(volumes.made("db/none").unwrap(), b"");
        assert_eq!(volumes.made("gone/key").unwrap(), b"");
    }

    #[test]
    fn all_that_fails_is_told_at_once_without_values_and_the_rest_is_written() {
        let long = vec![b'x'; MAX_VALUE + 2];
        let volumes = Volumes::of(&[
            ("a/quote", b"can't-say"),
            ("a/empty", b""),
            ("a/long", &long),
            ("a/right", b"right"),
        ]);
        fs::create_dir(volumes.source.path().join("..1/a/folder")).unwrap();
        let asked = [
            "a/quote",
            "--optional=a/empty",
            "a/long",
            "a/right",
            "a/none",
            "a/folder",
        ];
        let error = volumes.run(&asked).unwrap_err().to_string();
        let remedy =
            "mount the secret as a volume, change the value, or set spec.target.form: Plain on it";
        let refused = |key: &str, reason: &str| {
            format!(
                "key {key} of ManagedSecret a cannot be an environment variable, since {reason}: {remedy}"
            )
        };
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 5, "{error}");
        assert_eq!(lines[0], refused("quote", "it contains a single quote"));
        assert_eq!(lines[1], refused("long", "it has more than 64000 bytes"));
        assert!(lines[2].starts_with("key none of ManagedSecret a is not there: "));
        assert!(lines[3].starts_with("cannot read key folder of ManagedSecret a: "));
        assert_eq!(lines[4], refused("empty", "it is empty"));
        assert!(!error.contains("can't-say"));
        assert_eq!(volumes.made("a/right").unwrap(), b"value='right'\n");
        assert_eq!(volumes.made("a/quote"), None);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_name() {
        let volumes = Volumes::of(&[]);
        for name in [
            "password",
            "a/b/c",
            "../b",
            "a/..",
            "/etc/passwd",
            "a/",
            "a/..data",
            "",
        ] {
            let error = volumes.run(&[name]).unwrap_err().to_string();
            assert!(
                error.contains("a value is named SECRET/KEY"),
                "{name}: {error}"
            );
        }
        assert!(value_name("orders.db/.dockerconfigjson").is_ok());
        assert!(value_name("a/-x").is_ok());
    }

    #[test]
    fn more_than_a_pod_can_have_is_refused() {
        let volumes = Volumes::of(&[]);
        let names: Vec<_> = (0..=MAX_ITEMS)
            .map(|index| format!("--optional=a/{index}"))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert!(
            volumes
                .run(&names)
                .unwrap_err()
                .to_string()
                .contains("of at most 512")
        );
        volumes.run(&names[1..]).unwrap();
    }
}
