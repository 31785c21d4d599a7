//! A range of IP addresses, as `TRUSTED_PROXIES` lists them.

use std::net::IpAddr;
use std::str::FromStr;

/// One IP address or a CIDR block such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` lies in this network. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`, what a socket that
    /// listens on `::` sees) counts as the IPv4 address it stands for.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                mask(own.to_bits().into(), 32, self.prefix) == mask(other.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                mask(own.to_bits(), 128, self.prefix) == mask(other.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }

    /// Whether every address of its family lies in this network (`0.0.0.0/0` and `::/0`).
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "must be IP addresses or CIDR blocks such as 10.0.0.0/8";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| EXPECTED)?)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| EXPECTED)?;
        let canonical = written.to_canonical();
        let written_width = if written.is_ipv4() { 32 } else { 128 };
        let (width, bits) = match canonical {
            IpAddr::V4(v4) => (32, v4.to_bits().into()),
            IpAddr::V6(v6) => (128, v6.to_bits()),
        };
        // `::ffff:10.0.0.0/104` is 10.0.0.0/8: the first 96 bits only say that it is IPv4.
        let prefix = prefix.unwrap_or(written_width).checked_sub(written_width - width).filter(|p| *p <= width);
        let prefix = prefix.ok_or(EXPECTED)?;
        if mask(bits, width, prefix) != bits {
            return Err("must be CIDR blocks whose bits after the prefix are zero, such as 10.0.0.0/8".into());
        }
        Ok(Self { address: canonical, prefix })
    }
}

/// The first `prefix` of an address's `width` bits, the others zero.
fn mask(bits: u128, width: u8, prefix: u8) -> u128 {
    let host_bits = u32::from(width - prefix);
    bits.checked_shr(host_bits).and_then(|network| network.checked_shl(host_bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_addresses_of_the_block_alone() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.128/25", "::ffff:192.0.2.200", "::ffff:192.0.2.100"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "12.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/", "10.0.0/8", "::ffff:0.0.0.0/95"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
