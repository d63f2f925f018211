//! The process of a database's server: stopped, killed, and started again on the same port with the same data.

use std::{
    net::{IpAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::process::{Lifetime, Process, Spec, tail};

const POLL: Duration = Duration::from_millis(25);
/// How long the server may take to serve. Generous: the machine may be busy building.
const READY: Duration = Duration::from_secs(90);
/// How long a stop may take before it is a kill.
const STOP: Duration = Duration::from_secs(20);
/// How much of the log is shown when the server does not start.
const TAIL: usize = 30;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) spec: Spec,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    process: Option<Process>,
}

impl Server {
    /// One that is not started yet.
    pub(super) fn new(spec: Spec, address: IpAddr, port: u16) -> Self {
        Self {
            spec,
            address,
            port,
            process: None,
        }
    }

    /// Stops it by the signal that has it end in order.
    pub(super) async fn stop(&mut self, signal: Signal) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.signal(signal)?;
        let deadline = Instant::now() + STOP;
        while process.alive() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        process.kill()
    }

    /// Ends it as a loss of power does.
    pub(super) fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Ends it where nobody waits: by a signal that it obeys soon, and else by force.
    pub(super) fn end(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        if process.signal(signal).is_ok() {
            process.identity().wait(STOP);
        }
        if let Err(error) = process.kill() {
            eprintln!("{}: {error:#}", self.spec.name);
        }
    }

    /// Until when it has to serve that is started now.
    pub(super) fn deadline() -> Instant {
        Instant::now() + READY
    }

    /// Starts it if it does not run: also when it has ended at once, as one does that finds what a killed one has left.
    pub(super) fn run(&mut self) -> Result<()> {
        let running = self.process.as_mut().is_some_and(Process::alive);
        if !running {
            self.process = Some(Process::spawn(&self.spec, Lifetime::Owned)?);
        }
        Ok(())
    }

    /// Whether it takes connections.
    pub(super) fn listens(&self) -> bool {
        TcpStream::connect_timeout(&(self.address, self.port).into(), POLL).is_ok()
    }

    /// Gives it a moment.
    pub(super) async fn wait(&self, deadline: Instant) -> Result<()> {
        ensure!(
            Instant::now() < deadline,
            "{} does not serve: {}",
            self.spec.name,
            tail(&self.spec.log, TAIL)
        );
        sleep(POLL).await;
        Ok(())
    }
}

/// What one can do with any of these: it is found, stopped, killed, and started again. A type with the fields `server` and `authority`,
/// which answers `question` when it serves.
macro_rules! runs {
    ($database:ident, question: $question:literal, stop: $stop:ident, end: $end:ident) => {
        impl $database {
            /// Where it listens.
            pub fn address(&self) -> std::net::IpAddr {
                self.server.address
            }

            /// Its port.
            pub fn port(&self) -> u16 {
                self.server.port
            }

            /// The certificate of the authority that signed the server's, PEM.
            pub fn ca_pem(&self) -> &str {
                &self.authority
            }

            /// Stops it in order: what was done is on the disk.
            pub async fn stop(&mut self) -> anyhow::Result<()> {
                self.server.stop(rustix::process::Signal::$stop).await
            }

            /// Ends it as a loss of power does.
            pub fn kill(&mut self) -> anyhow::Result<()> {
                self.server.kill()
            }

            /// Starts it after [`Self::stop`] or [`Self::kill`], with the same files on the same port, and waits until it serves.
            pub async fn start_again(&mut self) -> anyhow::Result<()> {
                let deadline = $crate::databases::server::Server::deadline();
                loop {
                    self.server.run()?;
                    if self.server.listens() && self.execute($question).await.is_ok() {
                        return Ok(());
                    }
                    self.server.wait(deadline).await?;
                }
            }

            /// [`Self::stop`] and [`Self::start_again`].
            pub async fn restart(&mut self) -> anyhow::Result<()> {
                self.stop().await?;
                self.start_again().await
            }
        }

        impl Drop for $database {
            fn drop(&mut self) {
                // Nobody needs the data.
                self.server.end(rustix::process::Signal::$end);
            }
        }
    };
}

pub(super) use runs;
