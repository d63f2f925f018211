//! Which addresses may be connected to: none of the machine itself, nor of the link that it is on.
//!
//! Whoever may write a secret chooses the host. What listens on the loopback trusts its neighbours more than it
//! should, and link-local addresses are where clouds keep the credentials of machines.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 4;

/// Which addresses a host may resolve to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Everything but loopback, link-local, unspecified, broadcast and multicast ones.
    NotLocal,
    /// Every address. For tests.
    Any,
}

impl Addresses {
    /// Whether a connection may go to the address.
    pub(crate) fn allow(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            // One of IPv4 that is written as one of IPv6 is connected to as the former.
            Self::NotLocal => match address.to_canonical() {
                IpAddr::V4(address) => !local_v4(address),
                IpAddr::V6(address) => !local_v6(address),
            },
        }
    }
}

/// Why there is nothing to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// The name is not known now, or nobody answers there.
    Unknown,
    /// There are addresses, and none that is allowed.
    Local,
}

impl Nowhere {
    /// What it is of a server, in words.
    pub(super) fn words(self, server: &impl Display) -> String {
        match self {
            Self::Unknown => format!("{server} cannot be reached, or the name is not known"),
            Self::Local => format!(
                "{server} is an address of the operator's own machine or link, which is not connected to"
            ),
        }
    }
}

/// The addresses of a host that may be connected to: a few, and one at least. Whoever connects to one of these, and does
/// not ask for the name again, is not led elsewhere by a name that changes in between.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    addresses: Addresses,
) -> Result<Vec<SocketAddr>, Nowhere> {
    let found = lookup_host((host, port)).await;
    let found: Vec<_> = found.map_err(|_| Nowhere::Unknown)?.collect();
    let mut allowed = found.clone();
    allowed.retain(|address| addresses.allow(address.ip()));
    allowed.truncate(MOST_ADDRESSES);
    match (found.is_empty(), allowed.is_empty()) {
        (true, _) => Err(Nowhere::Unknown),
        (false, true) => Err(Nowhere::Local),
        (false, false) => Ok(allowed),
    }
}

/// Connects to a host, at an address that may be connected to.
pub(super) async fn connect(
    host: &str,
    port: u16,
    addresses: Addresses,
    patience: Duration,
) -> Result<TcpStream, Nowhere> {
    let found = resolve(host, port, addresses).await?;
    connect_to(&found, patience).await
}

/// Connects to the first one of these addresses that answers. None of them has more than its share of the time.
pub(super) async fn connect_to(
    found: &[SocketAddr],
    patience: Duration,
) -> Result<TcpStream, Nowhere> {
    let patience = patience / u32::try_from(found.len()).unwrap_or(u32::MAX);
    for address in found {
        let connecting = timeout(patience, TcpStream::connect(address)).await;
        if let Ok(stream) = connecting.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
            // Messages are small, and each of them waits for an answer.
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(Nowhere::Unknown)
}

fn local_v4(address: Ipv4Addr) -> bool {
    // All of 0.0.0.0/8 is "this network", and Linux takes 0.0.0.0 for the loopback.
    address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
}

fn local_v6(address: Ipv6Addr) -> bool {
    // Behind NAT64 (RFC 6052) it leads to the address of IPv4 at its end.
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
        return local_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_multicast()
        // Metadata of a large cloud, by a unique local address of its own.
        || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_of_the_machine_or_its_link_is_connected_to() {
        for text in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
        ] {
            let address = text.parse().unwrap();
            assert!(!Addresses::NotLocal.allow(address), "{text}");
            assert!(Addresses::Any.allow(address), "{text}");
        }
        for text in [
            "10.96.0.7",
            "192.168.1.1",
            "203.0.113.9",
            "fd12::7",
            "2001:db8::1",
        ] {
            assert!(Addresses::NotLocal.allow(text.parse().unwrap()), "{text}");
        }
    }
}
