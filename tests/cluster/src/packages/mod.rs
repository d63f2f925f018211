//! What a node or a database needs of the system: installed where that is possible, named where it is not.

mod mysql;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{binaries::cache_dir, process::run};

pub(crate) use mysql::{MySqlPrograms, ensure_mysql};

/// Where distributions put network plugins.
const CNI_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// A file or command, and the Debian package that has it.
struct Need {
    what: What,
    package: &'static str,
}

enum What {
    Command(&'static str),
    NetworkPlugin(&'static str),
}

const NEEDS: &[Need] = &[
    Need {
        what: What::Command("runc"),
        package: "runc",
    },
    Need {
        what: What::Command("nft"),
        package: "nftables",
    },
    Need {
        what: What::Command("ip"),
        package: "iproute2",
    },
    Need {
        what: What::Command("mount"),
        package: "mount",
    },
    Need {
        what: What::Command("cc"),
        package: "gcc",
    },
    Need {
        what: What::NetworkPlugin("ptp"),
        package: "containernetworking-plugins",
    },
    Need {
        what: What::NetworkPlugin("loopback"),
        package: "containernetworking-plugins",
    },
    Need {
        what: What::NetworkPlugin("host-local"),
        package: "containernetworking-plugins",
    },
    // The static one: the image of it has no libraries.
    Need {
        what: What::Command("busybox"),
        package: "busybox-static",
    },
];

impl Need {
    fn met(&self) -> bool {
        match self.what {
            What::Command(name) => command(name).is_some(),
            What::NetworkPlugin(name) => CNI_FOLDERS
                .iter()
                .any(|folder| Path::new(folder).join(name).exists()),
        }
    }
}

/// Where a command is. Looks into the system folders too, which are not on every user's path.
pub(crate) fn command(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Into::into);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The folders of network plugins that exist.
pub(crate) fn network_plugin_folders() -> Vec<&'static str> {
    CNI_FOLDERS
        .into_iter()
        .filter(|folder| Path::new(folder).is_dir())
        .collect()
}

/// Installs what is missing with `apt-get`, when this is root on Debian or its kin.
pub(crate) fn ensure_installed() -> Result<()> {
    let _alone = alone();
    let mut packages: Vec<_> = NEEDS
        .iter()
        .filter(|need| !need.met())
        .map(|need| need.package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    allowed("a node", &packages)?;
    apt(&["update", "-qq"])?;
    install(&packages)?;
    let missing: Vec<_> = NEEDS
        .iter()
        .filter(|need| !need.met())
        .map(|need| need.package)
        .collect();
    ensure!(
        missing.is_empty(),
        "still missing after the installation: {}",
        missing.join(" ")
    );
    Ok(())
}

/// Where Debian puts the versions of PostgreSQL.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";
/// What the package does when it is installed, in files of this folder.
const POSTGRES_DEFAULTS: &str = "/etc/postgresql-common/createcluster.d";

/// The folder with the programs of the newest PostgreSQL, which is installed if there is none.
pub(crate) fn ensure_postgres() -> Result<PathBuf> {
    let _alone = alone();
    if let Some(programs) = postgres() {
        return Ok(programs);
    }
    allowed("a database", &["postgresql"])?;
    apt(&["update", "-qq"])?;
    // Its part that has the defaults goes first, so that no server of the whole machine is made and started.
    install(&["postgresql-common"])?;
    let defaults = Path::new(POSTGRES_DEFAULTS);
    fs::create_dir_all(defaults).context("make a folder for defaults")?;
    fs::write(
        defaults.join("keystead.conf"),
        "create_main_cluster = false\n",
    )
    .context("write defaults")?;
    install(&["postgresql"])?;
    postgres().context("PostgreSQL is missing after the installation")
}

fn postgres() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRES_VERSIONS).ok()?;
    let programs = versions.filter_map(|version| {
        let version = version.ok()?;
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let programs = version.path().join("bin");
        let whole = ["initdb", "postgres", "psql"]
            .iter()
            .all(|program| programs.join(program).is_file());
        whole.then_some((number, programs))
    });
    programs.max().map(|(_, programs)| programs)
}

/// What programs of people are tested with.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) python: PathBuf,
    /// The folder of its library.
    pub(crate) library: PathBuf,
    pub(crate) psql: PathBuf,
}

/// Where Debian's Python is; another one on the path may be of another kind.
const PYTHON: &str = "/usr/bin/python3";

/// Debian's Python, which is installed if there is none, and the client of PostgreSQL.
pub(crate) fn ensure_workshop() -> Result<Workshop> {
    let psql = ensure_postgres()?.join("psql");
    let packages = ["python3-minimal", "libpython3-stdlib"];
    if workshop(&psql).is_none() {
        allowed("a test of programs", &packages)?;
        apt(&["update", "-qq"])?;
        install(&packages)?;
    }
    workshop(&psql).context("Python is missing after the installation")
}

fn workshop(psql: &Path) -> Option<Workshop> {
    let python = fs::canonicalize(PYTHON).ok()?;
    let name = python.file_name()?.to_str()?.to_owned();
    let library = Path::new("/usr/lib").join(name);
    // The one of python3-minimal has no TLS.
    library.join("ssl.py").is_file().then(|| Workshop {
        python,
        library,
        psql: psql.to_owned(),
    })
}

/// The programs of MariaDB.
#[derive(Debug, Clone)]
pub(crate) struct MariaDbPrograms {
    pub(crate) server: PathBuf,
    pub(crate) client: PathBuf,
    /// Makes a data folder.
    pub(crate) install: PathBuf,
    /// The folder of plug-ins, if they were asked for.
    pub(crate) plugins: Option<PathBuf>,
}

/// The programs of MariaDB, which are installed if there are none: without the package that makes and starts a server of
/// the whole machine. It has the plug-ins, though, so that these are taken out of it.
pub(crate) fn ensure_mariadb(plugins: bool) -> Result<MariaDbPrograms> {
    let _alone = alone();
    let packages = ["mariadb-server-core", "mariadb-client-core"];
    if mariadb().is_none() {
        allowed("a database", &packages)?;
        apt(&["update", "-qq"])?;
        install(&packages)?;
    }
    let programs = mariadb().context("MariaDB is missing after the installation")?;
    let plugins = plugins.then(mariadb_plugins).transpose()?;
    Ok(MariaDbPrograms {
        plugins,
        ..programs
    })
}

fn mariadb() -> Option<MariaDbPrograms> {
    Some(MariaDbPrograms {
        server: command("mariadbd")?,
        client: command("mariadb")?,
        install: command("mariadb-install-db")?,
        plugins: None,
    })
}

/// Where Debian puts the plug-ins of MariaDB.
const MARIADB_PLUGINS: &str = "usr/lib/mysql/plugin";
/// The package that has them.
const MARIADB_PACKAGE: &str = "mariadb-server";

/// The folder with the plug-ins: the package's, or that in which they are kept for later tests.
fn mariadb_plugins() -> Result<PathBuf> {
    let installed = Path::new("/").join(MARIADB_PLUGINS);
    if installed.join("simple_password_check.so").is_file() {
        return Ok(installed);
    }
    let version = ["-W", "-f", "${Version}", "mariadb-server-core"];
    let version = run("dpkg-query", &version)?.replace([':', '/'], "_");
    let kept = cache_dir()?.join(format!("mariadb-plugins-{version}"));
    if kept.is_dir() {
        return Ok(kept);
    }
    allowed("a database", &[MARIADB_PACKAGE])?;
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).context("make the cache folder")?;
    let folder = tempfile::tempdir_in(&cache).context("make a folder")?;
    let status = Command::new("apt-get")
        .args(["download", "-qq", MARIADB_PACKAGE])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("run apt-get")?;
    ensure!(
        status.success(),
        "apt-get download {MARIADB_PACKAGE}: {status}"
    );
    let mut files = fs::read_dir(folder.path())?.filter_map(Result::ok);
    let package = files
        .next()
        .context("the package was not downloaded")?
        .path();
    let tree = folder.path().join("tree");
    let (package, tree_arg) = (package.display().to_string(), tree.display().to_string());
    run("dpkg-deb", &["-x", &package, &tree_arg]).context("take the package apart")?;
    match fs::rename(tree.join(MARIADB_PLUGINS), &kept) {
        // Another process was faster.
        Err(_) if kept.is_dir() => Ok(kept),
        moved => moved.map(|()| kept).context("keep the plug-ins"),
    }
}

/// The programs of Redis.
#[derive(Debug, Clone)]
pub(crate) struct RedisPrograms {
    /// The server, which is one only by that name.
    pub(crate) server: PathBuf,
    pub(crate) client: PathBuf,
}

/// The programs of Redis, which are installed if there are none: without the package that starts a server of the whole
/// machine. Of that one the program is a link to one of the tools.
pub(crate) fn ensure_redis() -> Result<RedisPrograms> {
    let _alone = alone();
    let packages = ["redis-tools"];
    if redis().is_none() {
        allowed("a database", &packages)?;
        apt(&["update", "-qq"])?;
        install(&packages)?;
    }
    redis().context("Redis is missing after the installation")
}

fn redis() -> Option<RedisPrograms> {
    Some(RedisPrograms {
        server: command("redis-server").or_else(|| command("redis-check-rdb"))?,
        client: command("redis-cli")?,
    })
}

/// Tests of one process begin together, and want different packages, of which one can be installed at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails where packages cannot be installed, naming them.
fn allowed(whose: &str, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !rustix::process::geteuid().is_root() || command("apt-get").is_none() {
        bail!("{whose} needs the packages (Debian's names): {list}");
    }
    eprintln!("installing {list}");
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    apt(&[
        &["install", "-y", "-qq", "--no-install-recommends"],
        packages,
    ]
    .concat())
}

fn apt(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        // Standard output is for what the command answers.
        .stdout(Stdio::null())
        .status()
        .context("run apt-get")?;
    ensure!(status.success(), "apt-get {}: {status}", args.join(" "));
    Ok(())
}
