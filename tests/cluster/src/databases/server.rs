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
