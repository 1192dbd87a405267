//! Names of IP protocols, as `/etc/protocols` and the IANA registry of protocol numbers have them.

use std::borrow::Cow;

/// The lower-case name of an IP protocol number, or the number itself where conntrack has no tracker of
/// its own for it.
pub fn name(protocol: u8) -> Cow<'static, str> {
    match protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        other => return Cow::Owned(other.to_string()),
    }
    .into()
}

/// The number of a protocol that is given by its name or number.
pub fn number(text: &str) -> Option<u8> {
    text.parse().ok().or_else(|| (0..=u8::MAX).find(|number| name(*number) == text))
}

/// Whether packets of this protocol have ports where conntrack's tuple keeps them
/// (`nf_ct_get_tuple`, net/netfilter/nf_conntrack_core.c).
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_protocols_have_names_and_others_numbers() {
        assert_eq!(name(17), "udp");
        assert_eq!(name(58), "icmpv6");
        assert_eq!(name(200), "200");
        assert_eq!(
            ["udp", "17", "200", "UDP", ""].map(number),
            [Some(17), Some(17), Some(200), None, None]
        );
    }
}
