//! MySQL, which no release of Debian has, but its unstable one: taken from there with its libraries, down to the C library, into a
//! folder of the cache. Nothing of it is installed, and it runs with its own loader.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{allowed, alone, apt};
use crate::{binaries::cache_dir, process::run};

/// The packages. `apt-get` finds what they need.
const PACKAGES: [&str; 2] = ["mysql-server-core", "mysql-client-core"];
/// The archive where the machine names no mirror of it.
const ARCHIVE: &str = "http://deb.debian.org/debian";
/// Where a machine names its archives: a file, and a folder of them.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
/// What the lists of the archive are signed with.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
const SERVER: &str = "usr/sbin/mysqld";
const CLIENT: &str = "usr/bin/mysql";
/// Messages and character sets.
const SHARE: &str = "usr/share/mysql";
const PLUGINS: &str = "usr/lib/mysql/plugin";
/// An empty database, as the server makes it.
const DATA: &str = "data";
/// What a server needs to run and to make its data folder, wherever it is: with what is small for tests.
const SMALL: [&str; 12] = [
    "--no-defaults",
    // It is told so on purpose: the cache folder may be root's alone.
    "--user=root",
    "--innodb-buffer-pool-size=8M",
    "--innodb-redo-log-capacity=16M",
    "--innodb-data-file-path=ibdata1:5M:autoextend",
    "--innodb-autoextend-increment=1",
    "--performance-schema=OFF",
    "--mysqlx=OFF",
    "--auto-generate-certs=OFF",
    "--caching-sha2-password-auto-generate-rsa-keys=OFF",
    "--secure-file-priv=NULL",
    "--skip-name-resolve",
];

/// The programs of MySQL.
#[derive(Debug, Clone)]
pub(crate) struct MySqlPrograms {
    root: PathBuf,
}

impl MySqlPrograms {
    /// The program and the first arguments of a server.
    pub(crate) fn server(&self) -> Vec<String> {
        let mut command = self.loaded(SERVER);
        command.extend(SMALL.map(ToOwned::to_owned));
        for (option, place) in [
            ("basedir", "usr"),
            ("lc-messages-dir", SHARE),
            ("character-sets-dir", &format!("{SHARE}/charsets")),
            ("plugin-dir", PLUGINS),
        ] {
            command.push(format!("--{option}={}", self.path(place)));
        }
        command
    }

    /// The program and the first arguments of a client.
    pub(crate) fn client(&self) -> Vec<String> {
        self.loaded(CLIENT)
    }

    /// An empty database, to be copied. Its superuser has no password.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join(DATA)
    }

    fn loaded(&self, program: &str) -> Vec<String> {
        vec![
            self.path(LOADER),
            "--library-path".to_owned(),
            self.path(LIBRARIES),
            self.path(program),
        ]
    }

    fn path(&self, place: &str) -> String {
        self.root.join(place).display().to_string()
    }
}

/// The programs of MySQL, which are taken from Debian once.
pub(crate) fn ensure_mysql() -> Result<MySqlPrograms> {
    let _alone = alone();
    let cache = cache_dir()?;
    let kept = MySqlPrograms {
        root: cache.join("mysql"),
    };
    if kept.root.is_dir() {
        return Ok(kept);
    }
    allowed("a database", &PACKAGES)?;
    fs::create_dir_all(&cache).context("make the cache folder")?;
    let folder = tempfile::tempdir_in(&cache).context("make a folder")?;
    let made = MySqlPrograms {
        root: folder.path().join("tree"),
    };
    fs::create_dir(&made.root).context("make a folder")?;
    for package in download(folder.path())? {
        let (package, tree) = (package.display().to_string(), made.path(""));
        run("dpkg-deb", &["-x", &package, &tree]).context("take a package apart")?;
    }
    forget_the_rest(&made)?;
    initialise(&made)?;
    match fs::rename(&made.root, &kept.root) {
        // Another process was faster.
        Err(_) if kept.root.is_dir() => Ok(kept),
        moved => moved.map(|()| kept).context("keep MySQL"),
    }
}

/// Downloads the packages with all that they need, as if nothing were installed. `apt-get` checks signatures and hashes.
fn download(folder: &Path) -> Result<Vec<PathBuf>> {
    let place = |name: &str| folder.join(name);
    for name in ["lists/partial", "archives/partial", "etc/preferences.d"] {
        fs::create_dir_all(place(name))?;
    }
    fs::write(place("status"), "").context("write that nothing is installed")?;
    let source = format!("deb [signed-by={KEYS}] {} sid main\n", archive());
    fs::write(place("etc/sources.list"), source).context("write where the archive is")?;
    let at = |setting: &str, name: &str| format!("-o{setting}={}", place(name).display());
    let own = [
        at("Dir::Etc", "etc"),
        at("Dir::State::status", "status"),
        at("Dir::State::lists", "lists"),
        at("Dir::Cache::archives", "archives"),
    ];
    let options = [
        "-oDir::Cache::pkgcache=",
        "-oDir::Cache::srcpkgcache=",
        // A mirror may be behind by weeks.
        "-oAcquire::Check-Valid-Until=false",
        "-oAcquire::Languages=none",
        "-oAcquire::Retries=3",
        // Whom it would download as may not see the folder.
        "-oAPT::Sandbox::User=root",
        "-qq",
    ];
    let options: Vec<_> = own.iter().map(String::as_str).chain(options).collect();
    apt(&[&options[..], &["update"]].concat())?;
    let install = [
        "install",
        "-y",
        "--no-install-recommends",
        "--download-only",
    ];
    apt(&[&options[..], &install, &PACKAGES].concat())?;
    let files = fs::read_dir(place("archives"))?.filter_map(Result::ok);
    let packages = files.map(|file| file.path());
    Ok(packages
        .filter(|path| path.extension().is_some_and(|found| found == "deb"))
        .collect())
}

/// The mirror that the machine has its packages from.
fn archive() -> String {
    let [file, folder] = SOURCES.map(PathBuf::from);
    let folder = fs::read_dir(folder).into_iter().flatten();
    let files = folder.filter_map(|entry| Some(entry.ok()?.path()));
    let texts = files
        .chain([file])
        .filter_map(|file| fs::read_to_string(file).ok());
    let texts: Vec<_> = texts.collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let found = words
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"));
    found.unwrap_or(ARCHIVE).to_owned()
}

/// Removes what no server and no client needs, which is more than half.
fn forget_the_rest(programs: &MySqlPrograms) -> Result<()> {
    for (folder, kept) in [("usr/bin", CLIENT), ("usr/share", SHARE)] {
        let kept = programs.root.join(kept);
        for entry in fs::read_dir(programs.root.join(folder))? {
            let path = entry?.path();
            if path == kept {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

fn initialise(programs: &MySqlPrograms) -> Result<()> {
    let mut command = programs.server();
    command.push("--initialize-insecure".to_owned());
    command.push(format!("--datadir={}", programs.data().display()));
    let (program, args) = command.split_first().context("a command")?;
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    run(program, &args).context("make an empty database")?;
    // Each server makes a number of its own.
    fs::remove_file(programs.data().join("auto.cnf")).context("forget the server's number")
}
