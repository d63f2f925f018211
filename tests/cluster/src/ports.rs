//! Ports that stay ours while a component is down.
//!
//! A port found by binding port 0 may be given to anyone while the server behind it is restarted. So
//! ports come from below the range the kernel hands out, and each is held by a lock on a file.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Context as _, Result, bail};

const FIRST: u16 = 20_000;
const COUNT: u16 = 9_000;

/// Ports held until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    locks: Vec<File>,
}

impl Lease {
    /// A free port on every address, which no other lease gets.
    pub(crate) fn take(&mut self) -> Result<u16> {
        let dir = env::temp_dir().join("keystead-ports");
        fs::create_dir_all(&dir).context("create the folder of port locks")?;
        // Processes begin at different places, so that they rarely try the same port.
        let offset = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap_or(0);
        for step in 0..COUNT {
            let port = FIRST + (offset + step) % COUNT;
            let lock = File::create(dir.join(port.to_string())).context("create a port lock")?;
            if lock.try_lock().is_err() || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err()
            {
                continue;
            }
            self.locks.push(lock);
            return Ok(port);
        }
        bail!("no free port between {FIRST} and {}", FIRST + COUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_never_hold_the_same_port() {
        let (mut one, mut two) = (Lease::default(), Lease::default());
        let ports = [one.take(), two.take(), one.take(), two.take()].map(Result::unwrap);
        for (index, port) in ports.iter().enumerate() {
            assert!(!ports[..index].contains(port));
        }
    }
}
