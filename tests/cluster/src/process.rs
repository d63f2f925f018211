//! One process of a cluster: how it is started, stopped, recognised later and cleaned up.
//!
//! An owned process dies with the process that started it, however that one ends: it is started through
//! `setpriv --pdeathsig`. The kernel sends that signal when the *thread* that forked ends, so all forks
//! happen on one thread that never does. A detached process gets a session of its own and is known to
//! later commands by its record: process id, start time and boot.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How long a process may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// Whether a process ends with the one that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Killed by the kernel when its starter ends, even by SIGKILL.
    Owned,
    /// Lives on until it is stopped by name.
    Detached,
}

/// What to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) log: PathBuf,
}

/// A process id that cannot be mistaken for a later process with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    started: u64,
    boot: String,
}

impl Identity {
    /// The identity of a process that exists now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            started: Stat::of(pid)?.started,
            boot: boot_id(),
        })
    }

    /// Whether that very process still runs. A zombie does not.
    pub(crate) fn alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| {
            !stat.over() && stat.started == self.started && self.boot == boot_id()
        })
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if !self.alive() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id")?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("signal process {}", self.pid)),
        }
    }

    /// Waits, blocking, until the process is gone; false when `patience` is over.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.alive() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// Kills the process and waits until it is gone.
    pub(crate) fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        if !self.wait(GRACE) {
            return Err(anyhow!("process {} survives SIGKILL", self.pid));
        }
        Ok(())
    }
}

/// What the kernel says of a process.
struct Stat {
    state: char,
    threads: u64,
    /// In clock ticks since boot.
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command name may hold spaces and parentheses, so count from its end.
        let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
        let state = fields.next()?.chars().next()?;
        let threads = fields.nth(16)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self {
            state,
            threads,
            started,
        })
    }

    /// A zombie is over only when its other threads are: until then it holds its files and ports.
    fn over(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

fn boot_id() -> String {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    })
    .clone()
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Process {
    identity: Identity,
    /// Present when it is our child, which has to be reaped.
    child: Option<Child>,
}

impl Process {
    pub(crate) fn spawn(spec: &Spec, lifetime: Lifetime) -> Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.log)
            .with_context(|| format!("open log {}", spec.log.display()))?;
        let mut command = match lifetime {
            Lifetime::Owned => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]);
                // ^C goes to the starter alone, which stops its processes in order.
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                command
            }
            Lifetime::Detached => Command::new("setsid"),
        };
        command
            .arg(&spec.program)
            .args(&spec.args)
            .envs(&spec.env)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = fork(command).with_context(|| format!("start {}", spec.name))?;
        let identity = Identity::of(child.id()).with_context(|| format!("find {}", spec.name))?;
        Ok(Self {
            identity,
            child: Some(child),
        })
    }

    /// A process that an earlier command started.
    pub(crate) fn adopt(identity: Identity) -> Self {
        Self {
            identity,
            child: None,
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn alive(&mut self) -> bool {
        if let Some(child) = &mut self.child
            && !matches!(child.try_wait(), Ok(None))
        {
            return false;
        }
        self.identity.alive()
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.alive() {
            self.identity.signal(signal)
        } else {
            Ok(())
        }
    }

    /// SIGTERM; a paused process is woken so that it can act on it.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)
    }

    /// SIGKILL, and reaped when this returns.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if self.alive() {
            self.identity.kill()?;
        }
        if let Some(child) = &mut self.child {
            child.wait().context("reap a process")?;
        }
        Ok(())
    }
}

/// When a stop that began now turns into a kill.
pub(crate) fn grace_ends() -> Instant {
    Instant::now() + GRACE
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Forks on the one thread that outlives every other (see the module's documentation).
fn fork(command: Command) -> std::io::Result<Child> {
    static FORKER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let forker = FORKER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in orders {
                // The asker may be gone; the child is then dropped and dies with this process.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = mpsc::channel();
    let gone = || std::io::Error::other("the forking thread is gone");
    forker.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// The last lines of a log, or why it cannot be read.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    match fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(no log: {error})"),
    }
}

/// Runs a command to its end; its output is in the error when it fails.
pub(crate) fn run(program: impl AsRef<Path>, args: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(anyhow!(
        "{} {}: {}: {}{}",
        program.display(),
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr).trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path) -> Spec {
        Spec {
            name: "sleeper".into(),
            program: "sleep".into(),
            args: vec!["600".into()],
            env: BTreeMap::new(),
            log: dir.join("log"),
        }
    }

    #[test]
    fn a_killed_process_is_reaped_and_its_identity_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::spawn(&sleeper(dir.path()), Lifetime::Owned).unwrap();
        let identity = process.identity().clone();
        assert!(process.alive() && identity.alive());
        process.kill().unwrap();
        assert!(!process.alive() && !identity.alive());
        assert!(!Path::new(&format!("/proc/{}", identity.pid)).exists());
    }

    #[test]
    fn an_owned_process_outlives_the_thread_that_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let spec = sleeper(dir.path());
        let mut process = thread::spawn(move || Process::spawn(&spec, Lifetime::Owned).unwrap())
            .join()
            .unwrap();
        thread::sleep(Duration::from_millis(100));
        assert!(process.alive());
        process.kill().unwrap();
    }

    #[test]
    fn an_identity_with_another_start_time_or_boot_is_not_alive() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.alive());
        assert!(
            !Identity {
                started: me.started + 1,
                ..me.clone()
            }
            .alive()
        );
        assert!(
            !Identity {
                boot: "another".into(),
                ..me
            }
            .alive()
        );
    }

    #[test]
    fn a_failing_command_says_what_it_printed() {
        let error = run("sh", &["-c", "echo out; echo err >&2; exit 3"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("out") && error.contains("err") && error.contains('3'),
            "{error}"
        );
    }
}
