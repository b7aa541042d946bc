//! IP addresses and networks: what an entry of `allowedOutboundHosts` may name, and which addresses are special.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A network in CIDR notation; a single address is a network of its full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads an address (`10.1.2.3`, `fd00::1`) or a network (`10.1.2.0/24`). Bits behind the prefix count for nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => (address, Some(prefix.parse::<u8>().ok()?)),
            Some(_) => return None,
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let length = length(address);
        let prefix = prefix.unwrap_or(length);
        if prefix > length {
            return None;
        }
        // An IPv4 address that is written as IPv6 is the IPv4 address.
        match address.to_canonical() {
            IpAddr::V4(base) if address.is_ipv6() && prefix >= 96 => Some(Self { base: base.into(), prefix: prefix - 96 }),
            _ => Some(Self { base: address, prefix }),
        }
    }

    /// Whether the address belongs to the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => leading(base.to_bits(), self.prefix) == leading(address.to_bits(), self.prefix),
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                base.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }

    /// The address of the network itself, without the bits behind the prefix.
    fn masked(&self) -> IpAddr {
        let shift = u32::from(length(self.base) - self.prefix);
        match self.base {
            IpAddr::V4(base) => {
                Ipv4Addr::from_bits(base.to_bits().checked_shr(shift).and_then(|bits| bits.checked_shl(shift)).unwrap_or(0)).into()
            }
            IpAddr::V6(base) => {
                Ipv6Addr::from_bits(base.to_bits().checked_shr(shift).and_then(|bits| bits.checked_shl(shift)).unwrap_or(0)).into()
            }
        }
    }

    /// Whether it is this one address.
    pub fn is_address(&self, address: IpAddr) -> bool {
        self.prefix == length(self.base) && self.base == address.to_canonical()
    }
}

/// In CIDR notation, as NetworkPolicies have it: `10.1.0.0/16`, `10.1.2.3/32`.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.masked(), self.prefix)
    }
}

fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn leading(bits: u32, prefix: u8) -> Option<u32> {
    bits.checked_shr(32 - u32::from(prefix))
}

/// Whether an address is one that a machine's own surroundings answer at: link-local addresses (RFC 3927, RFC 4291), among
/// them the metadata services of clouds (169.254.169.254, and fd00:ec2::254 of AWS). An IPv4 address inside an IPv6 one
/// (`::ffff:a.b.c.d`, and `64:ff9b::/96` of RFC 6052) counts as what it holds.
pub fn is_link_local(address: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address == METADATA || translated(address).is_some_and(|address| address.is_link_local())
        }
    }
}

/// The IPv4 address that a gateway of NAT64 makes of an IPv6 address.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (net, inside, outside) in [
            ("127.0.0.1/24", "127.0.0.200", "127.0.1.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "::1", "10.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.2.3.4", "::ffff:11.2.3.4"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
        ] {
            assert!(network(net).contains(address(inside)), "{net} {inside}");
            assert!(!network(net).contains(address(outside)), "{net} {outside}");
        }
    }

    #[test]
    fn a_network_is_written_without_the_bits_behind_its_prefix() {
        for (text, written) in [
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("8.8.8.8/0", "0.0.0.0/0"),
            ("fd00:1::1/32", "fd00:1::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(network(text).to_string(), written);
        }
    }

    #[test]
    fn what_is_no_network_is_none() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "example.com", "10.0.0.256"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn link_local_addresses_are_known_in_every_disguise() {
        for text in ["169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "fd00:ec2::254", "::ffff:169.254.1.1", "64:ff9b::a9fe:a9fe"] {
            assert!(is_link_local(address(text)), "{text}");
        }
        for text in ["169.253.0.1", "10.0.0.1", "fec0::1", "fd00:ec2::253", "::1", "64:ff9b::a00:1"] {
            assert!(!is_link_local(address(text)), "{text}");
        }
    }
}
