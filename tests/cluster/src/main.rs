//! The small command over the library.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use keystead_cluster::{Binaries, Cluster, ControlPlane, Image, NodeOptions, Options, Set};

#[derive(Parser)]
#[command(
    name = "keystead-cluster",
    version,
    about = "A real Kubernetes for tests and the demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the programs that are missing and print where they are (without a flag, those of a cluster, and Helm).
    Bins(BinsArgs),
    /// Build and install all that a cluster with a node uses, the older kubelet and Helm included: starting one needs
    /// no network afterwards. Needs root.
    Prepare,
    /// Print where a program such as kubectl or helm is, after building it if it is missing.
    Path {
        /// Its name.
        name: String,
    },
    /// Run a control plane without a node in the foreground, until ^C.
    ControlPlane {
        /// The folder it lives in; removed at the end.
        #[arg(long)]
        state: PathBuf,
    },
    /// Start a cluster with a node that outlives this command, or what is missing of it. Needs root.
    Up {
        /// The cluster's folder.
        #[arg(long)]
        state: PathBuf,
        /// Run until ^C instead, and remove the cluster then.
        #[arg(long)]
        foreground: bool,
    },
    /// Stop a cluster and remove every trace of it. Needs root.
    Down(StateArgs),
    /// Say what of a cluster runs; fails if anything is missing.
    Status(StateArgs),
    /// Make an image of static programs.
    ImageBuild(ImageArgs),
    /// Import an image's archive into a cluster.
    ImageImport {
        /// The cluster's folder.
        #[arg(long)]
        state: PathBuf,
        /// The archive.
        archive: PathBuf,
    },
    /// Print the keys of a cluster's etcd.
    EtcdDump {
        /// The cluster's folder.
        #[arg(long)]
        state: PathBuf,
        /// Only keys whose value contains this text, as it is or in base64.
        #[arg(long)]
        grep: Option<String>,
    },
}

#[derive(Args)]
struct StateArgs {
    /// The cluster's folder.
    #[arg(long)]
    state: PathBuf,
}

#[derive(Args)]
struct ImageArgs {
    /// The program; repeat for further ones that are beside it.
    #[arg(long = "binary", required = true)]
    binaries: Vec<PathBuf>,
    /// The image's name with its tag.
    #[arg(long)]
    name: String,
    /// Where the archive goes.
    #[arg(long)]
    out: PathBuf,
    /// What it runs; the first program if nothing is said. Repeat for arguments.
    #[arg(long)]
    entrypoint: Vec<String>,
    /// The user id it runs as.
    #[arg(long, default_value_t = 65532)]
    user: u32,
}

#[derive(Args)]
struct BinsArgs {
    /// Those of a control plane.
    #[arg(long)]
    control_plane: bool,
    /// Those of a node.
    #[arg(long)]
    node: bool,
    /// Helm.
    #[arg(long)]
    helm: bool,
}

impl BinsArgs {
    fn sets(&self) -> Vec<Set> {
        let asked = [
            (self.control_plane, Set::ControlPlane),
            (self.node, Set::Node),
            (self.helm, Set::Helm),
        ];
        let all = !asked.iter().any(|(asked, _)| *asked);
        asked
            .into_iter()
            .filter(|(asked, _)| *asked || all)
            .map(|(_, set)| set)
            .collect()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keystead-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Bins(args) => {
            for (name, path) in Binaries::ensure(&args.sets())?.iter() {
                println!("{name}\t{}", path.display());
            }
        }
        Command::Prepare => {
            Cluster::install_packages()?;
            Binaries::ensure(&[Set::ControlPlane, Set::Node, Set::Helm, Set::OlderKubelet])?;
        }
        Command::Path { name } => println!("{}", Binaries::ensure_one(&name)?.display()),
        Command::ControlPlane { state } => control_plane(state).await?,
        Command::Up {
            state,
            foreground: false,
        } => up(state).await?,
        Command::Up {
            state,
            foreground: true,
        } => node(state).await?,
        Command::Down(args) => Cluster::down(args.state)?,
        Command::Status(args) => status(args.state)?,
        Command::ImageBuild(args) => image_build(args)?,
        Command::ImageImport { state, archive } => Cluster::attach(state)?.import_image(archive)?,
        Command::EtcdDump { state, grep } => etcd_dump(state, grep.as_deref()).await?,
    }
    Ok(())
}

async fn control_plane(state: PathBuf) -> Result<()> {
    let mut stop = Stop::listen()?;
    let start = ControlPlane::start_in(&state, Options::default());
    if let Some(cluster) = stop.or(start).await? {
        println!("export KUBECONFIG={}", cluster.kubeconfig().display());
        stop.requested().await;
    }
    fs::remove_dir_all(&state).with_context(|| format!("remove {}", state.display()))
}

async fn node(state: PathBuf) -> Result<()> {
    let mut stop = Stop::listen()?;
    let start = Cluster::start(state, NodeOptions::default());
    if let Some(cluster) = stop.or(start).await? {
        println!("export KUBECONFIG={}", cluster.kubeconfig().display());
        stop.requested().await;
    }
    Ok(())
}

async fn up(state: PathBuf) -> Result<()> {
    if let Ok(cluster) = Cluster::attach(&state)
        && cluster.missing().is_empty()
    {
        eprintln!("the cluster in {} already runs", state.display());
    } else {
        Cluster::up(&state, NodeOptions::default()).await?;
    }
    println!(
        "export KUBECONFIG={}",
        std::path::absolute(state)?.join("kubeconfig").display()
    );
    Ok(())
}

fn status(state: PathBuf) -> Result<()> {
    let cluster = Cluster::attach(state)?;
    let missing = cluster.missing();
    println!("{} on node {}", cluster.url(), cluster.node_name());
    ensure!(missing.is_empty(), "not running: {missing:?}");
    println!("all components run");
    Ok(())
}

fn image_build(args: ImageArgs) -> Result<()> {
    let mut image = Image::of_programs(&args.name, &args.binaries)?.user(args.user);
    if !args.entrypoint.is_empty() {
        image = image.entrypoint(args.entrypoint);
    }
    image.write(args.out)
}

/// ^C and SIGTERM, from the moment this is made.
struct Stop {
    interrupted: Signal,
    terminated: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let interrupted = signal(SignalKind::interrupt()).context("listen for ^C")?;
        let terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        Ok(Self {
            interrupted,
            terminated,
        })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }

    /// What the work gives, or nothing if it is stopped before its end.
    async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        tokio::select! {
            done = work => done.map(Some),
            () = self.requested() => Ok(None),
        }
    }
}

async fn etcd_dump(state: PathBuf, grep: Option<&str>) -> Result<()> {
    let cluster = ControlPlane::attach(state)?;
    let keys = if let Some(text) = grep {
        cluster.etcd().keys_containing(text.as_bytes()).await?
    } else {
        let pairs = cluster.etcd().dump().await?;
        pairs
            .iter()
            .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
            .collect()
    };
    for key in keys {
        println!("{key}");
    }
    Ok(())
}
