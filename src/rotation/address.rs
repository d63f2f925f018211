//! Which addresses may be connected to: none of the machine itself, nor of the link that it is on.
//!
//! Whoever may write a secret chooses the host. What listens on the loopback trusts its neighbours more than it
//! should, and link-local addresses are where clouds keep the credentials of machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::lookup_host;

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

/// Why there is no address to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// The name is not known now.
    Unknown,
    /// There are addresses, and none that is allowed.
    Local,
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
