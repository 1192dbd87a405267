//! The addresses of the lab. It must not touch the machine.
//!
//! ```text
//!   client namespace            gateway namespace                 server namespace
//!   10.0.0.0/9, fd00:10::/48 ── clients │ server (masquerade) ─── 192.0.2.1, 2001:db8:2::1 (answers)
//!                                                                 198.51.100.0/24, 2001:db8:100::/48 (swallowed)
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every address in it is the client namespace's own: a flow may come from any of them. There are eight million, so that a
/// million sources find room; the link to the gateway is not among them.
pub const CLIENTS_V4: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 0, 0), 9);
/// Every address in it is the client namespace's own: a flow may come from any of them.
pub const CLIENTS_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0), 48);
/// The server's address: here a service of the lab answers (see [`crate::service`]), and the server's kernel does.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The server's IPv6 address.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
/// The gateway's address on the server side: what masquerading turns a client's address into.
pub const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The gateway's IPv6 address on the server side.
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
/// Nobody has these: the server drops what arrives for them and says nothing, not even by ICMP, because it does not
/// forward (net/ipv4/route.c, `ip_error`; net/ipv6/ip6_output.c, `ip6_forward`).
pub const SWALLOWED_V4: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 51, 100, 0), 24);
/// Nobody has these either.
pub const SWALLOWED_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0), 48);

/// The link between client and gateway.
pub(crate) const INSIDE_V4: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
pub(crate) const UPLINK_V4: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
pub(crate) const INSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xff, 0, 0, 0, 0, 0, 1);
pub(crate) const UPLINK_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xff, 0, 0, 0, 0, 0, 2);

/// The first swallowed address of the family of `source`: where a flow goes unless told otherwise.
#[must_use]
pub fn swallowed(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => after(SWALLOWED_V4.0.into(), 1),
        IpAddr::V6(_) => after(SWALLOWED_V6.0.into(), 1),
    }
}

/// The server's address of the family of `source`.
#[must_use]
pub fn server(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => SERVER_V4.into(),
        IpAddr::V6(_) => SERVER_V6.into(),
    }
}

/// The address `distance` after `first`; it begins again at the lowest after the highest.
#[must_use]
pub fn after(first: IpAddr, distance: u64) -> IpAddr {
    match first {
        IpAddr::V4(first) => {
            // Four thousand million addresses are a whole turn, so the cut is the arithmetic that is wanted.
            let distance = u32::try_from(distance % (1 << 32)).unwrap_or(0);
            Ipv4Addr::from_bits(first.to_bits().wrapping_add(distance)).into()
        }
        IpAddr::V6(first) => {
            Ipv6Addr::from_bits(first.to_bits().wrapping_add(distance.into())).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_over() {
        let next = |address: &str, distance| after(address.parse().unwrap(), distance).to_string();
        assert_eq!(next("10.0.0.250", 10), "10.0.1.4");
        assert_eq!(next("255.255.255.255", 1), "0.0.0.0");
        assert_eq!(next("fd00::ffff", 2), "fd00::1:1");
    }
}
