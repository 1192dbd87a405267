//! Entries of every kind that have been idle for a while: the timeouts are set while they are made, and then packets are
//! kept from conntrack, so that what is left says how long ago they were used.

use std::num::NonZeroU64;

use ctwatch::advise::settings::Settings;
use ctwatch::advise::timeouts::TIMEOUTS;
use ctwatch::host::namespace::{NamespaceTarget, NetworkNamespace};
use ctwatch::host::settings;
use ctwatch_lab::flow::FlowProtocol;
use ctwatch_lab::service::{TcpListener, UdpEcho};
use ctwatch_lab::{FlowPlan, Gateway, address, table, wait};

use crate::observed::ip;

/// All are made as if the timeout had been longer ago: what is left of `OLD_S` says how long an entry has been idle. Nothing
/// of the scenario takes long enough to change what is expected.
pub(crate) const OLD_S: u32 = 2000;
pub(crate) const NEW_S: u32 = 500;
/// How much is left, and how many entries have so much: used within the last `NEW_S`, idle for longer, and so little that
/// TCP may be live.
const STAYING: (u32, u64) = (1900, 5);
const IDLE: (u32, u64) = (1200, 7);
const NEARLY_OVER: (u32, u64) = (280, 3);
const GROUPS: [(u32, u64); 3] = [STAYING, IDLE, NEARLY_OVER];

/// A gateway, and its namespace as ctwatch has it.
pub(crate) struct World<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) namespace: NetworkNamespace,
    unset: Settings,
}

impl<'a> World<'a> {
    pub(crate) fn new(gateway: &'a Gateway) -> Self {
        for timeout in TIMEOUTS {
            gateway.set_timeout(timeout.name, timeout.default_s).unwrap();
        }
        gateway.add_rules(FROZEN).unwrap();
        let namespace = namespace(gateway);
        let unset = settings::read_in(&namespace).unwrap();
        Self { gateway, namespace, unset }
    }

    pub(crate) fn fill(&self) {
        // TCP that has not been acknowledged yet, or has announced no window, would get these instead of longer ones
        // (`nf_conntrack_tcp_packet`).
        self.set("tcp_timeout_max_retrans", 432_000);
        self.set("tcp_timeout_unacknowledged", 432_000);
        let client = self.gateway.client();
        let raw = |timeout, plan: &dyn Fn(u64, u64) -> FlowPlan| {
            let mut first = 0;
            for (left_s, count) in GROUPS {
                self.set(timeout, left_s);
                plan(first, count).send(client).unwrap();
                first += count;
                self.wait_for_entries_of(timeout, first);
            }
            self.unset(timeout);
        };
        let plan = |protocol, source: &'static str| {
            move |first, count| FlowPlan::new(protocol, ip(source), count).starting_at(first)
        };
        raw("udp_timeout", &plan(FlowProtocol::Udp, "10.0.1.2"));
        raw("icmp_timeout", &plan(FlowProtocol::IcmpEcho, "10.0.1.3"));
        raw("icmpv6_timeout", &plan(FlowProtocol::IcmpEcho, "fd00:10::3"));
        raw("tcp_timeout_syn_sent", &plan(FlowProtocol::TcpSyn, "10.0.1.4"));
        raw("tcp_timeout_unacknowledged", &plan(FlowProtocol::TcpAck, "10.0.1.5"));
        // Without ports each flow needs an address of its own, and to be let through as it is.
        self.gateway.do_not_masquerade("198.51.100.47".parse().unwrap()).unwrap();
        let each_from_another = |protocol, source: &'static str| {
            move |first, count| {
                FlowPlan::new(protocol, ip(source), count)
                    .from_sources(NonZeroU64::new(100).unwrap())
                    .starting_at(first)
                    .to(ip("198.51.100.47"), 0)
            }
        };
        raw("gre_timeout", &each_from_another(FlowProtocol::Gre, "10.0.6.1"));
        raw("generic_timeout", &each_from_another(FlowProtocol::Untracked, "10.0.7.1"));
        self.fill_streams();
        self.fill_states();
    }

    /// Flows that go both ways.
    fn fill_streams(&self) {
        let echo = UdpEcho::start(self.gateway.server(), 7).unwrap();
        let mut first = 0;
        for (left_s, count) in GROUPS {
            self.set("udp_timeout_stream", left_s);
            let plan = FlowPlan::udp(ip("10.0.1.8"), count)
                .to(address::SERVER_V4.into(), 7)
                .starting_at(first);
            first += count;
            // The kernel takes one for a stream that is still used after two seconds.
            wait::until(wait::PATIENCE, "a stream", || {
                plan.send(self.gateway.client())?;
                Ok((self.entries_of("udp_timeout_stream")? == first).then_some(()))
            })
            .unwrap();
            wait::until(wait::PATIENCE, "the last answers", || {
                let entries = table::entries(self.gateway.gateway())?;
                Ok(entries
                    .iter()
                    .all(|entry| entry.source != "10.0.1.8" || entry.assured)
                    .then_some(()))
            })
            .unwrap();
        }
        drop(echo);
        self.unset("udp_timeout_stream");
        // GRE both ways, put in by hand: the server has no way to answer it.
        for (number, (left_s, count)) in (1_u64..).zip(GROUPS) {
            for host in 0..count {
                let (source, left) = (format!("10.0.8.{}", 10 * number + host), left_s.to_string());
                conntrack(
                    self.gateway,
                    &[
                        "-I",
                        "-p",
                        "gre",
                        "-s",
                        &source,
                        "-d",
                        "198.51.100.47",
                        "--srckey",
                        "0",
                        "--dstkey",
                        "0",
                        "-t",
                        &left,
                        "-u",
                        "SEEN_REPLY,ASSURED",
                    ],
                );
            }
        }
    }

    /// TCP, as far as each state.
    fn fill_states(&self) {
        self.set("tcp_timeout_unacknowledged", 432_000);
        for of in STATES {
            self.fill_state(of);
        }
        self.unset("tcp_timeout_unacknowledged");
        self.unset("tcp_timeout_max_retrans");
    }

    /// Established connections alone.
    pub(crate) fn fill_established(&self) {
        STATES.iter().filter(|of| of.state == "ESTABLISHED").for_each(|of| self.fill_state(of));
    }

    fn fill_state(&self, of: &Reached) {
        for (group, (left_s, count)) in (0_u16..).zip(of.groups) {
            self.set(of.timeout, left_s);
            self.reach(of, of.first_port + group, count);
            self.unset(of.timeout);
        }
    }

    fn reach(&self, of: &Reached, port: u16, count: u64) {
        let source = ip(&format!("10.0.9.{}", 1 + of.first_port % 100));
        let client = self.gateway.client();
        // A client's port is taken by one connection, whatever it goes to.
        let plan = |protocol| {
            FlowPlan::new(protocol, source, count)
                .to(address::SERVER_V4.into(), port)
                .starting_at(10 * u64::from(port - of.first_port))
        };
        let mut listener = Some(TcpListener::start(self.gateway.server(), port).unwrap());
        let held = match of.how {
            How::Syn => plan(FlowProtocol::TcpSyn).send(client).unwrap(),
            _ => {
                let held = plan(FlowProtocol::TcpHandshake).send(client).unwrap();
                self.wait_for_state("ESTABLISHED", port, count);
                held
            }
        };
        if matches!(of.how, How::ClosedUnanswered) {
            // A second FIN of the same side would lead to LAST_ACK.
            let fin = format!("tcp dport {port} tcp flags & fin == fin");
            self.drop_packets(&format!("{fin} limit rate over 1/day burst {count} packets"));
        }
        if !matches!(of.how, How::Syn | How::Open) {
            drop(held.connections);
        }
        if matches!(of.how, How::ClosedByBoth | How::ClosedUnheard) {
            self.wait_for_state("CLOSE_WAIT", port, count);
            if matches!(of.how, How::ClosedUnheard) {
                self.drop_packets(&format!("iifname \"clients\" tcp dport {port}"));
            }
            listener = None;
        }
        self.wait_for_state(of.state, port, count);
        for side in ["sport", "dport"] {
            self.drop_packets(&format!("tcp {side} {port}"));
        }
        drop(listener);
        self.wait_for_state(of.state, port, count);
    }

    fn drop_packets(&self, which: &str) {
        self.gateway.add_rules(&format!("insert rule inet frozen raw {which} drop\n")).unwrap();
    }

    pub(crate) fn set(&self, timeout: &str, seconds: u32) {
        self.gateway.set_timeout(timeout, seconds).unwrap();
    }

    pub(crate) fn unset(&self, timeout: &str) {
        self.set(timeout, self.unset.timeout_s(timeout).unwrap());
    }

    fn entries_of(&self, timeout: &str) -> anyhow::Result<u64> {
        let entries = table::entries(self.gateway.gateway())?;
        Ok(entries.iter().filter(|entry| is_given(entry, timeout)).count() as u64)
    }

    fn wait_for_entries_of(&self, timeout: &str, count: u64) {
        wait::until(wait::PATIENCE, timeout, || {
            Ok((self.entries_of(timeout)? == count).then_some(()))
        })
        .unwrap();
    }

    fn wait_for_state(&self, state: &str, port: u16, count: u64) {
        let states = || -> anyhow::Result<Vec<String>> {
            let entries = table::entries(self.gateway.gateway())?.into_iter();
            let states = entries.filter(|entry| entry.destination_port == port);
            Ok(states.map(|entry| entry.state).collect())
        };
        let what = format!("{count} entries to port {port} in {state}");
        wait::until(wait::PATIENCE, &what, || {
            let found = states()?.iter().filter(|found| *found == state).count();
            Ok((found as u64 == count).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}, but {:?}", states()));
    }
}

/// As `conntrack -L` names it, independently of ctwatch.
fn is_given(entry: &table::Entry, timeout: &str) -> bool {
    let protocol = entry.protocol.as_str();
    match timeout {
        "udp_timeout" => protocol == "udp" && !entry.assured,
        "udp_timeout_stream" => protocol == "udp" && entry.assured,
        "icmp_timeout" => protocol == "icmp",
        "icmpv6_timeout" => protocol == "icmpv6",
        "gre_timeout" => protocol == "gre" && !entry.assured,
        "generic_timeout" => protocol == "unknown",
        "tcp_timeout_syn_sent" => protocol == "tcp" && entry.state == "SYN_SENT",
        "tcp_timeout_unacknowledged" => {
            protocol == "tcp" && entry.state == "ESTABLISHED" && entry.unreplied
        }
        other => panic!("{other}"),
    }
}

/// How a connection gets into a state.
#[derive(Clone, Copy)]
enum How {
    /// A SYN, whose answer is answered by a reset or by nothing.
    Syn,
    /// A handshake.
    Open,
    /// Its client closes it.
    Closed,
    /// Its client closes it, and is not answered.
    ClosedUnanswered,
    /// Both close it.
    ClosedByBoth,
    /// Both close it, and the last packet is dropped.
    ClosedUnheard,
}

struct Reached {
    state: &'static str,
    timeout: &'static str,
    /// Three ports from here on, one for each group.
    first_port: u16,
    how: How,
    groups: [(u32, u64); 3],
}

const STATES: &[Reached] = &[
    Reached {
        state: "SYN_RECV",
        timeout: "tcp_timeout_syn_recv",
        first_port: 8100,
        how: How::Syn,
        groups: GROUPS,
    },
    Reached {
        state: "ESTABLISHED",
        timeout: "tcp_timeout_established",
        first_port: 8110,
        how: How::Open,
        groups: [(431_000, 5), (100_000, 7), (280, 3)],
    },
    Reached {
        state: "FIN_WAIT",
        timeout: "tcp_timeout_fin_wait",
        first_port: 8120,
        how: How::ClosedUnanswered,
        groups: GROUPS,
    },
    Reached {
        state: "CLOSE_WAIT",
        timeout: "tcp_timeout_close_wait",
        first_port: 8130,
        how: How::Closed,
        groups: GROUPS,
    },
    Reached {
        state: "LAST_ACK",
        timeout: "tcp_timeout_last_ack",
        first_port: 8140,
        how: How::ClosedUnheard,
        groups: GROUPS,
    },
    Reached {
        state: "TIME_WAIT",
        timeout: "tcp_timeout_time_wait",
        first_port: 8150,
        how: How::ClosedByBoth,
        groups: GROUPS,
    },
    Reached {
        state: "CLOSE",
        timeout: "tcp_timeout_close",
        first_port: 8160,
        how: How::Syn,
        groups: GROUPS,
    },
];

/// Where packets are kept from conntrack: what would end SYN_RECV and FIN_WAIT.
const FROZEN: &str = "\
table inet frozen {
  chain raw {
    type filter hook prerouting priority -300
    iifname \"clients\" tcp dport 8100-8109 tcp flags & (syn | ack | rst) != syn drop
    iifname \"server\" tcp sport 8120-8129 tcp flags & (syn | ack | fin | rst) == ack drop
  }
}
";

pub(crate) fn namespace(gateway: &Gateway) -> NetworkNamespace {
    let target = NamespaceTarget::Name(gateway.gateway().name().to_owned());
    NetworkNamespace::open(&target).unwrap()
}

/// What the program `conntrack` prints in the gateway.
pub(crate) fn conntrack(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway
        .gateway()
        .within(|| Ok(std::process::Command::new("conntrack").args(arguments).output()?))
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "conntrack {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
