//! What would end under another timeout, and what really ends: for each timeout that traffic can make, entries that were
//! used at different times, the number that ctwatch foretells, and the number that is gone when the new value is set and
//! the idle ones are ended.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use ctwatch::advise::settings::Settings;
use ctwatch::advise::timeouts::{TIMEOUTS, by_name};
use ctwatch::change::purge::{IdleEntries, PurgeError, PurgePlan, PurgeReport};
use ctwatch::host::namespace::{NamespaceTarget, NetworkNamespace};
use ctwatch::host::settings;
use ctwatch_lab::flow::FlowProtocol;
use ctwatch_lab::service::{TcpListener, UdpEcho};
use ctwatch_lab::{FlowPlan, Gateway, address, counters, table, wait};
use serde_json::Value;

use crate::observed::{ctwatch, gateway, ip};
use crate::without_ctnetlink::Unloaded;

/// All are made as if the timeout had been longer ago: what is left of `OLD_S` says how long an entry has been idle. Nothing
/// of the scenario takes long enough to change what is expected.
const OLD_S: u32 = 2000;
const NEW_S: u32 = 500;
/// How much is left, and how many entries have so much: used within the last `NEW_S`, idle for longer, and so little that
/// TCP may be live.
const STAYING: (u32, u64) = (1900, 5);
const IDLE: (u32, u64) = (1200, 7);
const NEARLY_OVER: (u32, u64) = (280, 3);
const GROUPS: [(u32, u64); 3] = [STAYING, IDLE, NEARLY_OVER];

/// What is expected of a timeout: its name, what it is and would be, how many entries it governs, and how many of those end
/// and are undecided.
struct Case {
    timeout: &'static str,
    from_s: u32,
    to_s: u32,
    entries: u64,
    ends: u64,
    undecided: u64,
}

/// Of a timeout of which what is left says all.
fn decided(timeout: &'static str) -> Case {
    Case { timeout, from_s: OLD_S, to_s: NEW_S, entries: 15, ends: 10, undecided: 0 }
}

/// Of a state of TCP that may have been given the five minutes of what is unacknowledged.
fn of_tcp(timeout: &'static str) -> Case {
    Case { ends: 7, undecided: 3, ..decided(timeout) }
}

#[test]
fn what_if_is_what_ends_for_every_timeout() {
    let Some(gateway) = gateway() else { return };
    let world = World::new(&gateway);
    world.fill();
    let cases = [
        of_tcp("tcp_timeout_syn_sent"),
        of_tcp("tcp_timeout_syn_recv"),
        of_tcp("tcp_timeout_fin_wait"),
        of_tcp("tcp_timeout_close_wait"),
        of_tcp("tcp_timeout_last_ack"),
        of_tcp("tcp_timeout_time_wait"),
        // 15 established ones may have been given it too, by a reset that does not fit, of which 3 have little left.
        Case { entries: 30, undecided: 6, ..of_tcp("tcp_timeout_close") },
        // Unanswered ones that were picked up, and again the established ones.
        Case { entries: 30, undecided: 6, ..of_tcp("tcp_timeout_unacknowledged") },
        // No listing shows who was given this one. Five of those that were picked up have more left than anything gives.
        Case {
            timeout: "tcp_timeout_max_retrans",
            from_s: 300,
            to_s: 290,
            entries: 23,
            ends: 0,
            undecided: 5,
        },
        Case {
            timeout: "tcp_timeout_established",
            from_s: 432_000,
            to_s: 86_400,
            entries: 15,
            ends: 7,
            undecided: 3,
        },
        decided("udp_timeout_stream"),
        // The five streams that are left may have been given it, in their first two seconds.
        Case { entries: 20, ..decided("udp_timeout") },
        decided("icmp_timeout"),
        decided("icmpv6_timeout"),
        decided("gre_timeout"),
        decided("gre_timeout_stream"),
        decided("generic_timeout"),
    ];
    let asked: Vec<&str> = cases.iter().map(|case| case.timeout).collect();
    let all: Vec<&str> = TIMEOUTS.iter().map(|timeout| timeout.name).collect();
    assert_eq!(sorted(asked), sorted(all));
    let mut report = Vec::new();
    for case in &cases {
        report.push(world.check(case));
    }
    println!("{}", report.join("\n"));
}

struct World<'a> {
    gateway: &'a Gateway,
    namespace: NetworkNamespace,
    unset: Settings,
}

impl<'a> World<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        for timeout in TIMEOUTS {
            gateway.set_timeout(timeout.name, timeout.default_s).unwrap();
        }
        gateway.add_rules(FROZEN).unwrap();
        let namespace = namespace(gateway);
        let unset = settings::read_in(&namespace).unwrap();
        Self { gateway, namespace, unset }
    }

    fn fill(&self) {
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
        // A FIN that nobody has acknowledged would get this one instead.
        self.set("tcp_timeout_unacknowledged", 432_000);
        for (number, of) in (0_u16..).zip(STATES) {
            for (group, (left_s, count)) in (0_u16..).zip(of.groups) {
                self.set(of.timeout, left_s);
                self.reach(of, of.first_port + group, count, 1 + u8::try_from(number).unwrap());
                self.unset(of.timeout);
            }
        }
        self.unset("tcp_timeout_unacknowledged");
    }

    fn reach(&self, of: &Reached, port: u16, count: u64, host: u8) {
        let source = ip(&format!("10.0.9.{host}"));
        let client = self.gateway.client();
        let plan =
            |protocol| FlowPlan::new(protocol, source, count).to(address::SERVER_V4.into(), port);
        let mut listener = Some(TcpListener::start(self.gateway.server(), port).unwrap());
        let held = match of.how {
            How::Syn => plan(FlowProtocol::TcpSyn).send(client).unwrap(),
            _ => {
                let held = plan(FlowProtocol::TcpHandshake).send(client).unwrap();
                self.wait_for_state("ESTABLISHED", port, count);
                held
            }
        };
        if matches!(of.how, How::Closed | How::ClosedByBoth | How::ClosedUnheard) {
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

    /// What is foretold, and what ends.
    fn check(&self, case: &Case) -> String {
        let Case { timeout, from_s, to_s, entries, ends, undecided } = *case;
        self.set(timeout, from_s);
        let foretold = self.foretold(timeout, to_s);
        let number = |key: &str| foretold[key].as_u64().unwrap();
        let sources = foretold["sources"].as_array().unwrap();
        let lost: u64 = sources.iter().map(|source| source["ends"].as_u64().unwrap()).sum();
        let found =
            [number("entries"), number("ends"), lost, number("undecided"), number("from_s")];
        assert_eq!(found, [entries, ends, ends, undecided, from_s.into()], "{foretold}");

        let before = counters::entries(self.gateway.gateway()).unwrap();
        let listed_before = by_kind(self.gateway);
        let plan = PurgePlan::new(
            &settings::read_in(&self.namespace).unwrap(),
            [(by_name(timeout).unwrap(), to_s)],
        );
        let idle = IdleEntries::list(&self.namespace, &plan, usize::MAX).unwrap();
        // As it is done: the new value is in force when they are ended.
        self.set(timeout, to_s);
        let report = idle.end(&self.namespace).unwrap();
        let expected = PurgeReport { idle: ends, ended: ends, undecided, ..PurgeReport::default() };
        assert_eq!(report, expected, "{timeout}");
        let after = counters::entries(self.gateway.gateway()).unwrap();
        assert_eq!(before - after, ends, "{timeout}");
        // Of one kind only, and nothing besides.
        let listed_after = by_kind(self.gateway);
        let changed: Vec<_> = listed_before
            .iter()
            .filter(|(kind, entries)| listed_after.get(*kind).copied().unwrap_or(0) != **entries)
            .collect();
        assert_eq!(changed.len(), usize::from(ends > 0), "{timeout}: {changed:?}");
        self.unset(timeout);
        format!(
            "{timeout}: {from_s} -> {to_s} s: {entries} entries, foretold {ends}, ended {}, undecided {undecided}",
            before - after
        )
    }

    fn foretold(&self, timeout: &str, seconds: u32) -> Value {
        let question = format!("{timeout}={seconds}");
        let name = self.gateway.gateway().name();
        let arguments =
            ["advise", "--json", "--netns", name, "--allow-below-rfc", "--what-if", &question];
        let ended = ctwatch_lab::Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        ended.lines[0].json["what_if"][0].clone()
    }

    fn set(&self, timeout: &str, seconds: u32) {
        self.gateway.set_timeout(timeout, seconds).unwrap();
    }

    fn unset(&self, timeout: &str) {
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
        let what = format!("{count} entries to port {port} in {state}");
        wait::until(wait::PATIENCE, &what, || {
            let entries = table::entries(self.gateway.gateway())?;
            let found =
                entries.iter().filter(|of| of.state == state && of.destination_port == port);
            Ok((found.count() as u64 == count).then_some(()))
        })
        .unwrap();
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

fn by_kind(gateway: &Gateway) -> BTreeMap<(String, String, bool, bool), u64> {
    let mut kinds = BTreeMap::new();
    for entry in table::entries(gateway.gateway()).unwrap() {
        let kind = (entry.protocol, entry.state, entry.assured, entry.unreplied);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
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
        how: How::Closed,
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

#[test]
fn what_if_an_entry_is_used_or_gone_before_its_end_it_is_left_alone() {
    let Some(gateway) = gateway() else { return };
    let namespace = namespace(&gateway);
    let client = gateway.client();
    let plan = |count| FlowPlan::udp(ip("10.0.1.2"), count);
    gateway.set_timeout("udp_timeout", 300).unwrap();
    plan(20).send(client).unwrap();
    wait_for_entries(&gateway, 20);
    gateway.set_timeout("udp_timeout", OLD_S).unwrap();
    let before = settings::read_in(&namespace).unwrap();
    let purge = PurgePlan::new(&before, [(by_name("udp_timeout").unwrap(), NEW_S)]);
    let list = |cap| IdleEntries::list(&namespace, &purge, cap).unwrap();

    // Under the old timeout, then under the new one: five are used, three are gone.
    let capped = list(11);
    assert_eq!((capped.len(), capped.beyond_cap()), (11, 9));
    assert_eq!(capped.by_source(), [(ip("10.0.1.2"), 11)]);
    let idle = list(usize::MAX);
    plan(5).send(client).unwrap();
    wait_for_left(&gateway, OLD_S, 5);
    for port in 1029..1032_u16 {
        conntrack(&gateway, &["-D", "-p", "udp", "--sport", &port.to_string()]);
    }
    gateway.set_timeout("udp_timeout", NEW_S).unwrap();
    plan(2).starting_at(8).send(client).unwrap();
    wait_for_left(&gateway, NEW_S, 2);
    let report = idle.end(&namespace).unwrap();
    let expected =
        PurgeReport { idle: 20, ended: 10, refreshed: 7, gone: 3, ..PurgeReport::default() };
    assert_eq!(report, expected);
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 7);
    let report = capped.end(&namespace).unwrap();
    assert_eq!((report.ended, report.failed, report.beyond_cap), (0, 0, 9));
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 7);
}

#[test]
fn what_if_ctnetlink_is_not_loaded_nothing_ends_and_no_module_is_loaded() {
    let Some(gateway) = gateway() else { return };
    let namespace = namespace(&gateway);
    FlowPlan::udp(ip("10.0.1.2"), 10).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 10);
    let before = settings::read_in(&namespace).unwrap();
    let plan = PurgePlan::new(&before, [(by_name("udp_timeout").unwrap(), NEW_S)]);
    let _unloaded = Unloaded::now();
    let error = ctwatch::change::purge::purge(&namespace, &plan, 100).unwrap_err();
    let PurgeError::List(source) = &error else { panic!("{error}") };
    assert!(source.to_string().contains("modprobe nf_conntrack_netlink"), "{source}");
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 10);
}

fn namespace(gateway: &Gateway) -> NetworkNamespace {
    let target = NamespaceTarget::Name(gateway.gateway().name().to_owned());
    NetworkNamespace::open(&target).unwrap()
}

fn wait_for_entries(gateway: &Gateway, count: u64) {
    wait::until(wait::PATIENCE, &format!("{count} entries"), || {
        Ok((counters::entries(gateway.gateway())? == count).then_some(()))
    })
    .unwrap();
}

/// Until so many entries have about so many seconds left.
fn wait_for_left(gateway: &Gateway, seconds: u32, count: usize) {
    wait::until(wait::PATIENCE, &format!("{count} entries with {seconds} s left"), || {
        let listed = conntrack(gateway, &["-L"]);
        let left = listed.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok());
        let found = left.filter(|left: &u32| (seconds - 100..=seconds).contains(left)).count();
        Ok((found == count).then_some(()))
    })
    .unwrap();
}

/// What the program `conntrack` prints in the gateway.
fn conntrack(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway
        .gateway()
        .within(|| Ok(std::process::Command::new("conntrack").args(arguments).output()?))
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "conntrack {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}
