//! Images without a registry: a static program FROM scratch, as the archive that `docker save` writes.
//!
//! The same content gives the same bytes: no times, no owners, a fixed order.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::{hex::hex, packages, process::run};

/// The image that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "localhost/pause:1";
/// A shell and tools for tests.
pub const BUSYBOX: &str = "localhost/busybox:1";

/// Python, a client of PostgreSQL and the tools of [`BUSYBOX`], for tests of programs that people write.
pub const WORKSHOP: &str = "localhost/workshop:1";

const PAUSE_SOURCE: &str = "#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0); }
static void end(int signal) { (void)signal; _exit(0); }
int main(void) {
    struct sigaction child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    struct sigaction stop = {.sa_handler = end};
    sigaction(SIGCHLD, &child, 0);
    sigaction(SIGTERM, &stop, 0);
    sigaction(SIGINT, &stop, 0);
    for (;;) pause();
}
";

#[derive(Debug, Clone)]
enum Node {
    Folder(u32),
    File(PathBuf),
    Link(String),
}

/// An image in the making.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    nodes: BTreeMap<String, Node>,
    entrypoint: Vec<String>,
    user: Option<u32>,
    env: Vec<String>,
    labels: BTreeMap<String, String>,
    architecture: String,
}

impl Image {
    /// An empty image. The name needs a tag: `localhost/keystead:dev`.
    pub fn scratch(name: &str) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            name: name.to_owned(),
            nodes: BTreeMap::new(),
            entrypoint: Vec::new(),
            user: None,
            env: Vec::new(),
            labels: BTreeMap::new(),
            architecture: architecture.to_owned(),
        }
    }

    /// An image of one static program, at `/<file name>`, which it runs.
    pub fn of_program(name: &str, program: impl AsRef<Path>) -> Result<Self> {
        Self::of_programs(name, &[program])
    }

    /// An image of static programs, each at `/<file name>`. It runs the first one.
    pub fn of_programs(name: &str, programs: &[impl AsRef<Path>]) -> Result<Self> {
        let mut image = Self::scratch(name);
        for program in programs.iter().map(AsRef::as_ref) {
            let file = program.file_name().and_then(|name| name.to_str());
            let file = file.with_context(|| format!("{} names no program", program.display()))?;
            let path = format!("/{file}");
            image = image.file(&path, program);
            if image.entrypoint.is_empty() {
                image = image.entrypoint([path]);
            }
        }
        Ok(image)
    }

    /// Adds an executable file.
    #[must_use]
    pub fn file(mut self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.nodes.insert(inside(path), Node::File(from.into()));
        self
    }

    /// Adds a program of this system where it is, with the libraries that it is linked with.
    pub fn linked(mut self, program: &Path) -> Result<Self> {
        let printed = run("ldd", &[&program.display().to_string()])?;
        // `libc.so.6 => /lib/libc.so.6 (0x7f)`, or the loader alone: `/lib64/ld-linux.so.2 (0x7f)`.
        let libraries = printed
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for path in libraries.map(Path::new).chain([program]) {
            let place = path.to_str().context("a path is no text")?;
            self = self.file(place, path);
        }
        Ok(self)
    }

    /// Adds all files below a folder of this system where they are, without what only makes Python start sooner.
    pub fn tree(mut self, folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder);
        let entries = entries.with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if matches!(name, Some("__pycache__" | "test" | "tests")) {
                continue;
            }
            // A link may lead to nothing.
            let Ok(kind) = fs::metadata(&path) else {
                continue;
            };
            if kind.is_dir() {
                self = self.tree(&path)?;
            } else if kind.is_file() {
                let place = path.to_str().context("a path is no text")?;
                self = self.file(place, &path);
            }
        }
        Ok(self)
    }

    /// Adds a folder with that mode.
    #[must_use]
    pub fn folder(mut self, path: &str, mode: u32) -> Self {
        self.nodes.insert(inside(path), Node::Folder(mode));
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, to: &str) -> Self {
        self.nodes.insert(inside(path), Node::Link(to.to_owned()));
        self
    }

    /// What it runs.
    #[must_use]
    pub fn entrypoint<T: Into<String>>(mut self, command: impl IntoIterator<Item = T>) -> Self {
        self.entrypoint = command.into_iter().map(Into::into).collect();
        self
    }

    /// Whom it runs as; root if nothing is said.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The architecture in Go's words; this machine's if nothing is said.
    #[must_use]
    pub fn architecture(mut self, name: &str) -> Self {
        name.clone_into(&mut self.architecture);
        self
    }

    /// Writes the archive.
    pub fn write(&self, out: impl AsRef<Path>) -> Result<()> {
        let out = out.as_ref();
        let layer = self.layer()?;
        let digest = sha256(&layer);
        let user = self.user.map(|id| format!("{id}:{id}")).unwrap_or_default();
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": self.env,
                "Labels": self.labels,
                "User": user,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "keystead"}],
        });
        let config = serde_json::to_vec(&config)?;
        let (config_file, layer_file) =
            (format!("{}.json", sha256(&config)), format!("{digest}.tar"));
        let manifest = json!([
            {"Config": config_file, "RepoTags": [self.name], "Layers": [layer_file]}
        ]);
        let file = fs::File::create(out).with_context(|| format!("create {}", out.display()))?;
        let mut archive = Builder::new(file);
        append(&mut archive, &config_file, 0o644, &config)?;
        append(&mut archive, &layer_file, 0o644, &layer)?;
        append(
            &mut archive,
            "manifest.json",
            0o644,
            &serde_json::to_vec(&manifest)?,
        )?;
        archive
            .into_inner()
            .with_context(|| format!("write {}", out.display()))?
            .flush()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut nodes = self.nodes.clone();
        for path in self.nodes.keys() {
            for parent in Path::new(path).ancestors().skip(1) {
                if let Some(parent) = parent.to_str().filter(|parent| !parent.is_empty()) {
                    nodes
                        .entry(parent.to_owned())
                        .or_insert(Node::Folder(0o755));
                }
            }
        }
        let mut layer = Builder::new(Vec::new());
        for (path, node) in &nodes {
            match node {
                Node::Folder(mode) => {
                    let mut header = header(EntryType::Directory, *mode, 0);
                    layer.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
                Node::File(from) => {
                    let bytes =
                        fs::read(from).with_context(|| format!("read {}", from.display()))?;
                    append(&mut layer, path, 0o755, &bytes)?;
                }
                Node::Link(to) => {
                    layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, to)?;
                }
            }
        }
        layer.into_inner().context("finish a layer")
    }
}

/// Paths in a layer are relative to its root.
fn inside(path: &str) -> String {
    path.trim_matches('/').to_owned()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append(archive: &mut Builder<impl Write>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, mode, u64::try_from(bytes.len())?);
    archive
        .append_data(&mut header, path, bytes)
        .with_context(|| format!("archive {path}"))
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The image that holds a pod's namespaces, compiled here.
pub(crate) fn pause(dir: &Path) -> Result<Image> {
    let (source, program) = (dir.join("pause.c"), dir.join("pause"));
    fs::write(&source, PAUSE_SOURCE)?;
    let (from, to) = (source.display().to_string(), program.display().to_string());
    run("cc", &["-static", "-Os", "-s", "-o", &to, &from]).context("compile the pause program")?;
    Ok(Image::scratch(PAUSE)
        .file("/pause", program)
        .entrypoint(["/pause"])
        .user(65535))
}

/// The system's static busybox with a link for each of its applets.
pub(crate) fn busybox() -> Result<Image> {
    let program = packages::command("busybox").context("busybox is not installed")?;
    let applets = run(&program, &["--list"])?;
    let mut image = Image::scratch(BUSYBOX)
        .file("/bin/busybox", program)
        .folder("/tmp", 0o1777)
        .folder("/root", 0o700)
        .env("PATH", "/bin")
        .entrypoint(["/bin/sh"]);
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        image = image.link(&format!("/bin/{applet}"), "busybox");
    }
    Ok(image)
}

/// [`WORKSHOP`], made of what the system has, which is installed if it is not there.
pub fn workshop() -> Result<Image> {
    let programs = packages::ensure_workshop()?;
    let mut image = Image {
        name: WORKSHOP.to_owned(),
        ..busybox()?
    };
    image = image
        .linked(&programs.python)?
        .link("/bin/python3", &programs.python.display().to_string())
        .tree(&programs.library)?
        .linked(&programs.psql)?
        .link("/bin/psql", &programs.psql.display().to_string());
    // What Python loads only when it is asked for it.
    for module in fs::read_dir(programs.library.join("lib-dynload"))? {
        image = image.linked(&module?.path())?;
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(dir: &Path) -> Image {
        let program = dir.join("program");
        fs::write(&program, "#!not really a program").unwrap();
        Image::of_program("localhost/test:1", program)
            .unwrap()
            .user(65532)
            .env("MODE", "test")
            .label("org.opencontainers.image.title", "test")
            .link("/bin/alias", "../program")
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        image(one.path()).write(one.path().join("out")).unwrap();
        image(two.path()).write(two.path().join("out")).unwrap();
        let read = |dir: &tempfile::TempDir| fs::read(dir.path().join("out")).unwrap();
        assert_eq!(read(&one), read(&two));
    }

    #[test]
    fn the_first_of_several_programs_is_run() {
        let dir = tempfile::tempdir().unwrap();
        let image = Image::of_programs("localhost/test:1", &["/a/first", "/b/second"]).unwrap();
        assert_eq!(image.entrypoint, ["/first"]);
        assert_eq!(image.nodes.len(), 2);
        assert!(
            image.write(dir.path().join("out")).is_err(),
            "they are not there"
        );
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let layer = image(dir.path()).layer().unwrap();
        let mut layer = tar::Archive::new(layer.as_slice());
        let paths: Vec<_> = layer
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(paths, ["bin/", "bin/alias", "program"]);
    }
}
