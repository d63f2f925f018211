//! What a node needs of the system: installed where that is possible, named where it is not.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

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
pub(crate) fn command(name: &str) -> Option<std::path::PathBuf> {
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
    let mut packages: Vec<_> = NEEDS
        .iter()
        .filter(|need| !need.met())
        .map(|need| need.package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !rustix::process::geteuid().is_root() || command("apt-get").is_none() {
        bail!("a node needs the packages (Debian's names): {list}");
    }
    eprintln!("installing {list}");
    apt(&["update", "-qq"])?;
    apt(&[
        &["install", "-y", "-qq", "--no-install-recommends"],
        &packages[..],
    ]
    .concat())?;
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
