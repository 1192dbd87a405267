//! The timeouts, by the kernel's names: what they are unless set, and how low they may go.

use super::bounds::Bounds;
use crate::model::census::{remaining::Kind, state::State};

/// A timeout that an entry is given by its protocol and state.
#[derive(Debug, PartialEq)]
pub struct Timeout {
    /// Its name behind `net.netfilter.nf_conntrack_`.
    pub name: &'static str,
    /// What it is unless set, in seconds (net/netfilter/nf_conntrack_proto_*.c).
    pub default_s: u32,
    /// The least that the RFCs allow a NAT, in seconds; `None` where they say nothing, or less than the kernel's default.
    pub nat_floor_s: Option<u32>,
    /// The RFC that says so.
    pub floor_source: &'static str,
    /// The least that is sensible, in seconds, where no NAT is; advice never goes lower.
    pub sensible_s: u32,
    /// Who suffers when it is too short.
    pub risk: &'static str,
}

impl Timeout {
    /// The least that the RFCs allow here, in seconds; `None` where they allow anything. A machine of which it is not known
    /// whether it translates sources is taken for a NAT.
    pub fn rfc_floor_s(&self, translates_sources: Option<bool>, bounds: &Bounds) -> Option<u32> {
        let is_bound = translates_sources != Some(false) && !bounds.allow_below_rfc;
        self.nat_floor_s.filter(|_| is_bound)
    }

    /// The least that is advised here, in seconds.
    pub fn least_advised_s(&self, translates_sources: Option<bool>, bounds: &Bounds) -> u32 {
        self.sensible_s.max(self.rfc_floor_s(translates_sources, bounds).unwrap_or(0))
    }
}

/// All timeouts that are advised on, by protocol.
pub const TIMEOUTS: &[Timeout] = &[
    Timeout {
        name: "tcp_timeout_established",
        default_s: 432_000,
        nat_floor_s: Some(7440),
        floor_source: "RFC 5382 REQ-5",
        sensible_s: 7440,
        risk: "connections that are idle for longer and send no keepalive break silently behind a NAT: pools of database \
               connections, SSH, IMAP",
    },
    Timeout {
        name: "tcp_timeout_syn_sent",
        default_s: 120,
        nat_floor_s: None,
        floor_source: "RFC 7857 section 2.1",
        sensible_s: 20,
        risk: "a server that answers the first SYN later than this is not reached",
    },
    Timeout {
        name: "tcp_timeout_syn_recv",
        default_s: 60,
        nat_floor_s: None,
        floor_source: "RFC 7857 section 2.1",
        sensible_s: 20,
        risk: "very slow clients do not get through their handshake",
    },
    Timeout {
        name: "tcp_timeout_fin_wait",
        default_s: 120,
        nat_floor_s: None,
        floor_source: "RFC 7857 section 2.2",
        sensible_s: 30,
        risk: "transfers that go on in one direction, with longer pauses than this, break",
    },
    Timeout {
        name: "tcp_timeout_close_wait",
        default_s: 60,
        nat_floor_s: None,
        floor_source: "RFC 7857 section 2.2",
        sensible_s: 60,
        risk: "connections that are closed on one side and idle for longer on the other break",
    },
    Timeout {
        name: "tcp_timeout_last_ack",
        default_s: 30,
        nat_floor_s: None,
        floor_source: "RFC 7857 section 2.2",
        sensible_s: 15,
        risk: "a late last packet is taken for an invalid one",
    },
    Timeout {
        name: "tcp_timeout_time_wait",
        default_s: 120,
        nat_floor_s: None,
        floor_source: "RFC 7857 section 2.2",
        sensible_s: 30,
        risk: "late packets are taken for invalid ones, and a translated port is reused sooner",
    },
    Timeout {
        name: "tcp_timeout_close",
        default_s: 10,
        nat_floor_s: None,
        floor_source: "RFC 7857 section 2.2",
        sensible_s: 10,
        risk: "late packets behind a reset are taken for invalid ones",
    },
    Timeout {
        name: "tcp_timeout_max_retrans",
        default_s: 300,
        nat_floor_s: None,
        floor_source: "",
        sensible_s: 150,
        risk: "connections over lines that fail for longer than this break",
    },
    Timeout {
        name: "tcp_timeout_unacknowledged",
        default_s: 300,
        nat_floor_s: None,
        floor_source: "",
        sensible_s: 150,
        risk: "connections over lines that fail for longer than this break",
    },
    Timeout {
        name: "udp_timeout",
        default_s: 30,
        nat_floor_s: None,
        floor_source: "RFC 4787 REQ-5",
        sensible_s: 10,
        risk: "an answer that comes later than this is lost, as of a slow resolver",
    },
    Timeout {
        name: "udp_timeout_stream",
        default_s: 120,
        nat_floor_s: Some(120),
        floor_source: "RFC 4787 REQ-5",
        sensible_s: 60,
        risk: "telephony, tunnels, games and QUIC that keep themselves alive more rarely than this break",
    },
    Timeout {
        name: "icmp_timeout",
        default_s: 30,
        nat_floor_s: None,
        floor_source: "RFC 5508 REQ-2",
        sensible_s: 10,
        risk: "an answer to a ping that comes later than this is lost",
    },
    Timeout {
        name: "icmpv6_timeout",
        default_s: 30,
        nat_floor_s: None,
        floor_source: "RFC 5508 REQ-2",
        sensible_s: 10,
        risk: "an answer to a ping that comes later than this is lost",
    },
    Timeout {
        name: "gre_timeout",
        default_s: 30,
        nat_floor_s: None,
        floor_source: "",
        sensible_s: 30,
        risk: "tunnels that are set up more slowly than this fail",
    },
    Timeout {
        name: "gre_timeout_stream",
        default_s: 180,
        nat_floor_s: None,
        floor_source: "",
        sensible_s: 120,
        risk: "tunnels that are idle for longer break",
    },
    Timeout {
        name: "generic_timeout",
        default_s: 600,
        nat_floor_s: None,
        floor_source: "",
        sensible_s: 60,
        risk: "idle IPsec without NAT traversal, and other tunnels, break",
    },
];

/// The timeout of that name.
pub fn by_name(name: &str) -> Option<&'static Timeout> {
    TIMEOUTS.iter().find(|timeout| timeout.name == name)
}

/// Which timeout an entry was given by its last packet, as far as a listing shows; `None` where it does not. TCP may have been given
/// `tcp_timeout_max_retrans` or `tcp_timeout_unacknowledged` instead (`nf_conntrack_tcp_packet`,
/// net/netfilter/nf_conntrack_proto_tcp.c), which no listing shows.
pub fn timeout_of(protocol: u8, state: State, assured: bool) -> Option<&'static Timeout> {
    of_kind(Kind::of(protocol, state, assured, false)?)
}

/// Which timeout an entry of a kind is given, unless TCP is given another one, see [`timeout_of`]; `None` if it cannot be
/// set.
pub fn of_kind(kind: Kind) -> Option<&'static Timeout> {
    let name = match kind {
        Kind::Tcp { state, .. } => match state {
            1 => "tcp_timeout_syn_sent",
            2 => "tcp_timeout_syn_recv",
            3 => "tcp_timeout_established",
            4 => "tcp_timeout_fin_wait",
            5 => "tcp_timeout_close_wait",
            6 => "tcp_timeout_last_ack",
            7 => "tcp_timeout_time_wait",
            8 => "tcp_timeout_close",
            _ => return None,
        },
        Kind::Udp { is_assured: true } => "udp_timeout_stream",
        Kind::Udp { is_assured: false } => "udp_timeout",
        Kind::Icmp => "icmp_timeout",
        Kind::Icmpv6 => "icmpv6_timeout",
        Kind::Gre { is_assured: true } => "gre_timeout_stream",
        Kind::Gre { is_assured: false } => "gre_timeout",
        Kind::Generic => "generic_timeout",
    };
    by_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_advised_below_a_floor_and_each_has_one_name() {
        for timeout in TIMEOUTS {
            assert!(timeout.sensible_s <= timeout.default_s, "{timeout:?}");
            assert!(
                timeout.nat_floor_s.is_none_or(|floor| floor <= timeout.default_s),
                "{timeout:?}"
            );
            assert_eq!(by_name(timeout.name), Some(timeout));
        }
    }

    #[test]
    fn an_entry_s_timeout_is_that_of_its_protocol_and_state() {
        let name = |protocol, state, assured| {
            timeout_of(protocol, state, assured).map(|timeout| timeout.name)
        };
        assert_eq!(name(6, State::Tcp(3), true), Some("tcp_timeout_established"));
        assert_eq!(name(6, State::Tcp(9), false), None);
        assert_eq!(name(6, State::Offloaded, true), None);
        assert_eq!(name(17, State::Replied, false), Some("udp_timeout"));
        assert_eq!(name(17, State::Replied, true), Some("udp_timeout_stream"));
        assert_eq!(name(50, State::Replied, true), Some("generic_timeout"));
        assert_eq!(name(132, State::Replied, true), None);
    }
}
