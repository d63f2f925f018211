//! MySQL, which no release of Debian has, but its unstable one: taken from there with its libraries, down to the C library, into a
//! folder of the cache. Nothing of it is installed, and it runs with its own loader.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};

use super::allowed;
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
        let loader = format!("{LIBRARIES}/ld-linux-x86-64.so.2");
        let command = [&loader, "--library-path", LIBRARIES, program];
        let path = |part: &str| match part {
            "--library-path" => part.to_owned(),
            place => self.path(place),
        };
        command.map(path).into()
    }

    fn path(&self, place: &str) -> String {
        self.root.join(place).display().to_string()
    }
}

/// The programs of MySQL, which are taken from Debian once.
pub(crate) fn ensure_mysql() -> Result<MySqlPrograms> {
    // Tests of one process begin together.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    for name in ["lists/partial", "archives/partial", "etc"] {
        fs::create_dir_all(place(name))?;
    }
    fs::write(place("status"), "").context("write that nothing is installed")?;
    let source = format!("deb [signed-by={KEYS}] {} sid main\n", archive());
    fs::write(place("etc/sources.list"), source).context("write where the archive is")?;
    let settings = [
        ("Dir::Etc", "etc"),
        ("Dir::State::status", "status"),
        ("Dir::State::lists", "lists"),
        ("Dir::Cache::archives", "archives"),
        ("Dir::Cache::pkgcache", ""),
        ("Dir::Cache::srcpkgcache", ""),
    ];
    let mut options: Vec<_> = settings
        .iter()
        .map(|(name, value)| match *value {
            "" => format!("-o{name}="),
            value => format!("-o{name}={}", place(value).display()),
        })
        .collect();
    // A mirror may be behind by weeks.
    options.push("-oAcquire::Check-Valid-Until=false".to_owned());
    options.push("-oAcquire::Languages=none".to_owned());
    options.push("-oAcquire::Retries=3".to_owned());
    apt(&options, &["update", "-qq"])?;
    let install = [
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "--download-only",
    ];
    apt(&options, &[&install[..], &PACKAGES].concat())?;
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

fn apt(options: &[String], args: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(options)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("run apt-get")?;
    ensure!(
        output.status.success(),
        "apt-get {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
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
