//! The programs of Kubernetes, built from pinned Go modules into a cache that outlives the checkout.
//!
//! A built program is named by its version and by a hash of everything that decides its content, so a
//! changed pin builds anew and an unchanged one never does.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// How the folders of running builds begin.
const UNFINISHED: &str = ".build-";

/// One `go.mod` with its checksums.
struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// The requirement that gives the version.
    versioned_by: &'static str,
    /// Where the programs keep the version they print; `VERSION` stands for it.
    stamps: &'static [&'static str],
}

macro_rules! module {
    ($name:literal, $versioned_by:literal, $stamps:expr) => {
        Module {
            name: $name,
            go_mod: include_str!(concat!("../modules/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../modules/", $name, "/go.sum")),
            versioned_by: $versioned_by,
            stamps: $stamps,
        }
    };
}

const KUBERNETES_STAMPS: &[&str] = &[
    "k8s.io/component-base/version.gitVersion=VERSION",
    "k8s.io/component-base/version.gitMajor=MAJOR",
    "k8s.io/component-base/version.gitMinor=MINOR",
];

static KUBERNETES: Module = module!("kubernetes", "k8s.io/kubernetes", KUBERNETES_STAMPS);
static OLDER_KUBELET: Module = module!("kubelet-1.34", "k8s.io/kubernetes", KUBERNETES_STAMPS);
static ETCD: Module = module!("etcd", "go.etcd.io/etcd/server/v3", &[]);
static CONTAINERD: Module = module!(
    "containerd",
    "github.com/containerd/containerd/v2",
    &["github.com/containerd/containerd/v2/version.Version=VERSION"]
);
static COREDNS: Module = module!("coredns", "github.com/coredns/coredns", &[]);
static HELM: Module = module!(
    "helm",
    "helm.sh/helm/v4",
    &["helm.sh/helm/v4/internal/version.version=VERSION"]
);

impl Module {
    fn version(&self) -> &str {
        self.go_mod
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("require ").split_once(' '))
            .find(|(path, _)| *path == self.versioned_by)
            .and_then(|(_, rest)| rest.split(' ').next())
            .expect("every module requires what it is versioned by")
    }

    fn linker_flags(&self) -> String {
        let version = self.version();
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
        let mut flags = "-s -w".to_owned();
        for stamp in self.stamps {
            let stamp = stamp
                .replace("VERSION", version)
                .replace("MAJOR", major)
                .replace("MINOR", minor);
            flags.push_str(" -X ");
            flags.push_str(&stamp);
        }
        flags
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.go_mod);
        hash.update(self.go_sum);
        hash.update(self.linker_flags());
        hex(&hash.finalize()[..6])
    }
}

/// A program that can be built.
struct Program {
    name: &'static str,
    module: &'static Module,
    package: &'static str,
}

macro_rules! programs {
    ($($name:literal $module:ident $package:literal)*) => {
        &[$(Program { name: $name, module: &$module, package: $package }),*]
    };
}

static PROGRAMS: &[Program] = programs! {
    "etcd" ETCD "go.etcd.io/etcd/server/v3"
    "etcdutl" ETCD "go.etcd.io/etcd/etcdutl/v3"
    "kube-apiserver" KUBERNETES "k8s.io/kubernetes/cmd/kube-apiserver"
    "kube-controller-manager" KUBERNETES "k8s.io/kubernetes/cmd/kube-controller-manager"
    "kubectl" KUBERNETES "k8s.io/kubernetes/cmd/kubectl"
    "kube-scheduler" KUBERNETES "k8s.io/kubernetes/cmd/kube-scheduler"
    "kubelet" KUBERNETES "k8s.io/kubernetes/cmd/kubelet"
    "kube-proxy" KUBERNETES "k8s.io/kubernetes/cmd/kube-proxy"
    "kubelet-1.34" OLDER_KUBELET "k8s.io/kubernetes/cmd/kubelet"
    "containerd" CONTAINERD "github.com/containerd/containerd/v2/cmd/containerd"
    "containerd-shim-runc-v2" CONTAINERD "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
    "ctr" CONTAINERD "github.com/containerd/containerd/v2/cmd/ctr"
    "coredns" COREDNS "github.com/coredns/coredns"
    "helm" HELM "helm.sh/helm/v4/cmd/helm"
};

/// A group of programs that is needed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// etcd with its restore tool, API server, controller manager and kubectl.
    ControlPlane,
    /// What a node needs beside the control plane.
    Node,
    /// Helm.
    Helm,
    /// A kubelet that is older than the rest, for [`crate::Cluster::run_older_kubelet`].
    OlderKubelet,
}

impl Set {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::ControlPlane => &[
                "etcd",
                "etcdutl",
                "kube-apiserver",
                "kube-controller-manager",
                "kubectl",
            ],
            Self::Node => &[
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "containerd",
                "containerd-shim-runc-v2",
                "ctr",
                "coredns",
            ],
            Self::Helm => &["helm"],
            Self::OlderKubelet => &["kubelet-1.34"],
        }
    }
}

/// Built programs by name.
#[derive(Debug, Clone)]
pub struct Binaries {
    paths: BTreeMap<&'static str, PathBuf>,
}

impl Binaries {
    /// Builds what is missing of the sets and says on standard error what takes how long.
    pub fn ensure(sets: &[Set]) -> Result<Self> {
        let names: Vec<_> = sets.iter().flat_map(|set| set.names()).copied().collect();
        Self::ensure_named(&names)
    }

    /// The same for one program.
    pub fn ensure_one(name: &str) -> Result<PathBuf> {
        let program = program(name)?;
        Ok(Self::ensure_named(&[program.name])?.path(name).to_owned())
    }

    fn ensure_named(names: &[&'static str]) -> Result<Self> {
        let bin = cache_dir()?.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
        let mut paths = BTreeMap::new();
        let mut missing = Vec::new();
        for name in names {
            let program = program(name)?;
            let path = given(name).unwrap_or_else(|| built_path(&bin, program));
            if !path.exists() {
                missing.push((program, path.clone()));
            }
            paths.insert(*name, path);
        }
        if !missing.is_empty() {
            build_all(&bin, &missing)?;
        }
        Ok(Self { paths })
    }

    /// The version that a program is built from.
    pub(crate) fn version(name: &str) -> Result<&'static str> {
        Ok(program(name)?.module.version())
    }

    /// Where a program is; it must be in one of the sets that were asked for.
    pub fn path(&self, name: &str) -> &Path {
        self.paths
            .get(name)
            .unwrap_or_else(|| panic!("{name} was not asked for"))
    }

    /// All programs that were asked for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths
            .iter()
            .map(|(name, path)| (*name, path.as_path()))
    }
}

fn program(name: &str) -> Result<&'static Program> {
    PROGRAMS
        .iter()
        .find(|program| program.name == name)
        .with_context(|| {
            let known: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
            format!("no program {name}; there are {}", known.join(", "))
        })
}

/// What the user already has, where the convention of other tools says it is.
fn given(name: &str) -> Option<PathBuf> {
    let path = Path::new(&env::var_os("KUBEBUILDER_ASSETS")?).join(name);
    let shared = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kubectl",
    ];
    (shared.contains(&name) && path.is_file()).then_some(path)
}

/// `$KEYSTEAD_CACHE`, else `keystead` in the user's cache folder.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let dir = set("KEYSTEAD_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("keystead")))
        .or_else(|| Some(set("HOME")?.join(".cache/keystead")))
        .context("set KEYSTEAD_CACHE: there is no home folder to keep built programs in")?;
    std::path::absolute(dir).context("make the cache folder's path absolute")
}

fn built_path(bin: &Path, program: &Program) -> PathBuf {
    let module = program.module;
    bin.join(format!(
        "{}-{}-{}",
        program.name,
        module.version(),
        module.fingerprint()
    ))
}

fn build_all(bin: &Path, missing: &[(&Program, PathBuf)]) -> Result<()> {
    let lock = fs::File::create(bin.join(".lock")).context("create the build lock")?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another process that builds Kubernetes programs");
        lock.lock().context("take the build lock")?;
    }
    remove_unfinished(bin)?;
    // Another process may have built some while this one waited.
    let missing: Vec<_> = missing.iter().filter(|(_, path)| !path.exists()).collect();
    for (index, (program, path)) in missing.iter().enumerate() {
        let (number, total) = (index + 1, missing.len());
        eprintln!(
            "building {} {} ({number} of {total})",
            program.name,
            program.module.version()
        );
        let begun = Instant::now();
        build(bin, program, path)?;
        eprintln!("built {} in {} s", program.name, begun.elapsed().as_secs());
    }
    Ok(())
}

/// What builds that were killed left. The caller holds the lock, so none is running.
fn remove_unfinished(bin: &Path) -> Result<()> {
    for entry in fs::read_dir(bin).context("list built programs")?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path()).context("remove an unfinished build")?;
        }
    }
    Ok(())
}

fn build(bin: &Path, program: &Program, path: &Path) -> Result<()> {
    let module = program.module;
    // In the cache, so that the rename below stays in one file system.
    let dir = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(bin)?;
    fs::write(dir.path().join("go.mod"), module.go_mod)?;
    fs::write(dir.path().join("go.sum"), module.go_sum)?;
    let output = dir.path().join("program");
    let status = Command::new("go")
        .current_dir(dir.path())
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false")
        .env("GOWORK", "off")
        .args(["build", "-ldflags", &module.linker_flags(), "-o"])
        .arg(&output)
        .arg(program.package)
        .status();
    let status = match status {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "Go is not installed: {} is built from module {}",
            program.name,
            module.name
        ),
        Err(error) => return Err(error).context("run go build"),
    };
    ensure!(
        status.success(),
        "go build of {} failed: {status}",
        program.package
    );
    fs::rename(&output, path).with_context(|| format!("put {} in place", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_declared_as_a_tool_of_its_module() {
        for program in PROGRAMS {
            let mut lines = program.module.go_mod.lines().map(str::trim);
            let declared = lines.any(|line| line.trim_start_matches("tool ") == program.package);
            assert!(declared, "{}", program.name);
            assert!(
                program.module.version().starts_with('v'),
                "{}",
                program.name
            );
        }
    }

    #[test]
    fn kubernetes_is_stamped_with_its_version() {
        let flags = KUBERNETES.linker_flags();
        assert!(flags.contains("gitVersion=v1.36.3 "), "{flags}");
        assert!(flags.ends_with("gitMinor=36"), "{flags}");
    }

    #[test]
    fn every_set_names_known_programs() {
        let sets = [Set::ControlPlane, Set::Node, Set::Helm, Set::OlderKubelet];
        for name in sets.into_iter().flat_map(Set::names) {
            assert!(program(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_older_kubelet_is_older_by_no_more_than_kubernetes_supports() {
        let minor = |module: &Module| -> u32 {
            let mut numbers = module.version().split('.');
            numbers.nth(1).unwrap().parse().unwrap()
        };
        let (usual, older) = (minor(&KUBERNETES), minor(&OLDER_KUBELET));
        // A kubelet may be up to three minor versions older than the API server.
        assert!((usual - 3..usual).contains(&older), "{older} and {usual}");
    }

    #[test]
    fn an_unknown_program_is_refused_with_the_known_ones() {
        let error = Binaries::ensure_one("kubecti").unwrap_err().to_string();
        assert!(error.contains("kubectl"), "{error}");
    }
}
