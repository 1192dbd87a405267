//! Which flows a plan stands for, one by one. It must not send them: that is the generator's work.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU64;

use crate::address;

/// How many flows go to one destination address. Masquerading gives each of them another port of one outside address,
/// and finds a free one surely only while there are many (net/netfilter/nf_nat_core.c, `nf_nat_l4proto_unique_tuple`);
/// so a longer plan goes on at the next destination.
pub const FLOWS_PER_DESTINATION: u64 = 16_384;

/// The first source port, or ICMP identifier.
const FIRST_PORT: u16 = 1024;

/// What the packets of a flow are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowProtocol {
    /// One UDP datagram.
    Udp,
    /// One TCP SYN, which nobody answers.
    TcpSyn,
    /// A TCP connection, kept open until [`crate::Sent`] goes; it needs [`crate::service::TcpListener`].
    TcpHandshake,
    /// One ICMP or ICMPv6 echo request.
    IcmpEcho,
    /// One TCP ACK out of nowhere, as of a connection that was there before conntrack.
    TcpAck,
    /// One GRE packet, which has no port: flows are told apart by their addresses.
    Gre,
    /// One packet of a protocol that conntrack has no tracker for (253 of RFC 3692); without ports as well.
    Untracked,
}

/// Whom the flows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// One address.
    One(IpAddr),
    /// `count` addresses from `first` on; the flows take turns over them.
    Range {
        /// The first address.
        first: IpAddr,
        /// How many addresses.
        count: NonZeroU64,
    },
    /// As many addresses as flows, all over the /8 of `first`, as of somebody who makes them up: each flow comes from
    /// another one, up to 2²⁴ of them. They are nobody's, so only a plan whose packets are written by hand can have them.
    Scattered {
        /// An address of the /8.
        first: Ipv4Addr,
    },
}

impl Sources {
    /// The first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        match self {
            Self::One(first) | Self::Range { first, .. } => first,
            Self::Scattered { first } => first.into(),
        }
    }

    /// The address that the flow with this number comes from.
    #[must_use]
    pub fn of_flow(self, number: u64) -> IpAddr {
        match self {
            Self::One(first) => first,
            Self::Range { first, count } => address::after(first, number % count),
            Self::Scattered { first } => {
                // An odd factor gives each number below 2²⁴ a place of its own.
                let host = number.wrapping_mul(0x9E_37_79_B1) & 0x00FF_FFFF;
                address::after(Ipv4Addr::new(first.octets()[0], 0, 0, 0).into(), host)
            }
        }
    }
}

/// Flows to make: `count` of them, each another tuple, at a rate or as fast as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowPlan {
    /// What the packets of a flow are.
    pub protocol: FlowProtocol,
    /// Whom the flows come from.
    pub sources: Sources,
    /// Where the first of them go; a long plan goes on at the next addresses (see [`FLOWS_PER_DESTINATION`]).
    pub destination: IpAddr,
    /// The port they go to; ICMP has none.
    pub destination_port: u16,
    /// How many flows.
    pub count: u64,
    /// The number of the first flow: plans alike make other flows where these ranges do not overlap.
    pub first: u64,
    /// How many flows a second; as fast as possible if not said.
    pub rate_per_s: Option<NonZeroU64>,
}

/// One flow: the tuple that conntrack sees in the original direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// What its packets are.
    pub protocol: FlowProtocol,
    /// Where it comes from.
    pub source: IpAddr,
    /// Its source port, or ICMP identifier.
    pub source_port: u16,
    /// Where it goes.
    pub destination: IpAddr,
    /// Its destination port; ICMP has none.
    pub destination_port: u16,
}

impl FlowPlan {
    /// `count` flows of `protocol` from `source` to an address that swallows them.
    #[must_use]
    pub fn new(protocol: FlowProtocol, source: IpAddr, count: u64) -> Self {
        Self {
            protocol,
            sources: Sources::One(source),
            destination: match protocol {
                FlowProtocol::TcpHandshake => address::server(source),
                _ => address::swallowed(source),
            },
            destination_port: 8080,
            count,
            first: 0,
            rate_per_s: None,
        }
    }

    /// `count` UDP flows from `source`.
    #[must_use]
    pub fn udp(source: IpAddr, count: u64) -> Self {
        Self::new(FlowProtocol::Udp, source, count)
    }

    /// `count` TCP flows from `source` that stay at their SYN.
    #[must_use]
    pub fn tcp_syn(source: IpAddr, count: u64) -> Self {
        Self::new(FlowProtocol::TcpSyn, source, count)
    }

    /// `count` TCP connections from `source` to the server.
    #[must_use]
    pub fn tcp_handshake(source: IpAddr, count: u64) -> Self {
        Self::new(FlowProtocol::TcpHandshake, source, count)
    }

    /// `count` ICMP or ICMPv6 echo flows from `source`.
    #[must_use]
    pub fn icmp_echo(source: IpAddr, count: u64) -> Self {
        Self::new(FlowProtocol::IcmpEcho, source, count)
    }

    /// The same plan, its flows taking turns over `count` sources.
    #[must_use]
    pub fn from_sources(mut self, count: NonZeroU64) -> Self {
        self.sources = Sources::Range { first: self.sources.first(), count };
        self
    }

    /// The same plan, each of its flows from another address of the /8 of `first`, all to one destination.
    #[must_use]
    pub fn from_scattered(mut self, first: Ipv4Addr) -> Self {
        self.sources = Sources::Scattered { first };
        self
    }

    /// The same plan at `rate` flows a second.
    #[must_use]
    pub fn at_rate(mut self, rate_per_s: NonZeroU64) -> Self {
        self.rate_per_s = Some(rate_per_s);
        self
    }

    /// The same plan with at most `count` flows.
    #[must_use]
    pub fn take(mut self, count: u64) -> Self {
        self.count = self.count.min(count);
        self
    }

    /// The same plan, beginning at its flow number `first`.
    #[must_use]
    pub fn starting_at(mut self, first: u64) -> Self {
        self.first = first;
        self
    }

    /// The same plan to another destination.
    #[must_use]
    pub fn to(mut self, destination: IpAddr, port: u16) -> Self {
        self.destination = destination;
        self.destination_port = port;
        self
    }

    /// The flow with this number. Two numbers never give the same tuple.
    #[must_use]
    pub fn flow(&self, number: u64) -> Flow {
        let port_step = u16::try_from(number % FLOWS_PER_DESTINATION).unwrap_or(0);
        Flow {
            protocol: self.protocol,
            source: self.sources.of_flow(number),
            source_port: FIRST_PORT + port_step,
            destination: match self.sources {
                // Such flows are told apart by where they come from.
                Sources::Scattered { .. } => self.destination,
                _ => address::after(self.destination, number / FLOWS_PER_DESTINATION),
            },
            destination_port: match self.protocol {
                FlowProtocol::IcmpEcho => 0,
                _ => self.destination_port,
            },
        }
    }

    /// Its flows in the order in which they are sent.
    pub fn flows(&self) -> impl Iterator<Item = Flow> + '_ {
        (self.first..self.first.saturating_add(self.count)).map(|number| self.flow(number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn every_flow_is_another_tuple_also_across_destinations() {
        let plan = FlowPlan::udp("10.0.1.2".parse().unwrap(), 3 * FLOWS_PER_DESTINATION + 7);
        let tuples: HashSet<Flow> = plan.flows().collect();
        assert_eq!(tuples.len() as u64, plan.count);
        let destinations: HashSet<IpAddr> = plan.flows().map(|flow| flow.destination).collect();
        assert_eq!(destinations.len(), 4);
    }

    #[test]
    fn sources_take_turns() {
        let plan = FlowPlan::icmp_echo("fd00:10::ffff".parse().unwrap(), 11)
            .from_sources(NonZeroU64::new(5).unwrap());
        let mut shares: HashMap<IpAddr, u64> = HashMap::new();
        for flow in plan.flows() {
            *shares.entry(flow.source).or_default() += 1;
        }
        assert_eq!(shares.len(), 5);
        assert_eq!(shares[&"fd00:10::ffff".parse::<IpAddr>().unwrap()], 3);
        assert_eq!(shares[&"fd00:10::1:3".parse::<IpAddr>().unwrap()], 2);
    }

    #[test]
    fn scattered_sources_are_all_different_and_go_to_one_destination() {
        let plan = FlowPlan::tcp_syn("10.0.1.2".parse().unwrap(), 100_000)
            .from_scattered(Ipv4Addr::new(20, 0, 0, 0));
        let sources: HashSet<IpAddr> = plan.flows().map(|flow| flow.source).collect();
        assert_eq!(sources.len(), 100_000);
        let networks: HashSet<u8> = sources
            .iter()
            .map(|source| match source {
                IpAddr::V4(source) => source.octets()[1],
                IpAddr::V6(_) => unreachable!(),
            })
            .collect();
        assert_eq!(networks.len(), 256);
        assert!(plan.flows().all(|flow| flow.destination == plan.destination));
    }

    #[test]
    fn the_second_part_of_a_plan_shares_nothing_with_the_first() {
        let first = FlowPlan::tcp_syn("10.0.1.2".parse().unwrap(), 100);
        let second = first.clone().starting_at(100);
        let firsts: HashSet<Flow> = first.flows().collect();
        assert!(second.flows().all(|flow| !firsts.contains(&flow)));
    }
}
