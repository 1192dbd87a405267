//! What a walk of the table tells: states, zones, destinations, ports of source NAT, prefixes, each held against
//! `conntrack -L` or against what was sent.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use ctwatch_lab::counters::conntrack_statistics;
use ctwatch_lab::service::{TcpListener, UdpEcho};
use ctwatch_lab::table::{self, Entry};
use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, address, counters, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, number, of_source, rows, stop, watch,
};

#[test]
fn census_states_zones_and_destinations_are_those_of_the_table() {
    let Some(gateway) = gateway() else { return };
    for timeout in ["tcp_timeout_close", "tcp_timeout_close_wait", "tcp_timeout_time_wait"] {
        gateway.set_timeout(timeout, 600).unwrap();
    }
    gateway
        .add_rules(
            "table inet zones {\n chain prerouting {\n type filter hook prerouting priority -300\n \
             ip saddr 10.0.3.0/24 ct zone set 7\n }\n}\n",
        )
        .unwrap();
    let client = gateway.client();
    let listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let _echo = UdpEcho::start(gateway.server(), 7).unwrap();
    // Two connections of which both ends are closed, three of one end, and four that stay.
    let closed = FlowPlan::tcp_handshake(ip("10.0.1.2"), 2).send(client).unwrap();
    drop(closed);
    wait_for(&gateway, "CLOSE_WAIT", 2);
    drop(listener);
    wait_for(&gateway, "TIME_WAIT", 2);
    let listener = TcpListener::start(gateway.server(), 8081).unwrap();
    let to_8081 = |count| {
        FlowPlan::tcp_handshake(ip("10.0.1.3"), count).to(address::server(ip("10.0.1.3")), 8081)
    };
    drop(to_8081(3).send(client).unwrap());
    wait_for(&gateway, "CLOSE_WAIT", 3);
    let open = to_8081(4).starting_at(100).send(client).unwrap();
    wait_for(&gateway, "ESTABLISHED", 4);
    for plan in [
        FlowPlan::tcp_syn(ip("10.0.1.4"), 70),
        // The client's kernel knows nothing of these, and resets them when they are answered.
        FlowPlan::tcp_syn(ip("10.0.1.4"), 6).to(address::SERVER_V4.into(), 8081),
        FlowPlan::udp(ip("10.0.3.5"), 50),
        FlowPlan::udp(ip("10.0.1.5"), 5).to(address::SERVER_V4.into(), 7),
        FlowPlan::udp(ip("fd00:10::5"), 30),
        FlowPlan::icmp_echo(ip("10.0.1.6"), 9).to(address::SERVER_V4.into(), 0),
        FlowPlan::icmp_echo(ip("10.0.1.6"), 8),
    ] {
        plan.send(client).unwrap();
    }
    wait_for(&gateway, "replied", 5 + 9);
    wait_for(&gateway, "CLOSE", 6);
    let count = 2 + 3 + 4 + 70 + 6 + 50 + 5 + 30 + 9 + 8;
    wait_for_entries(&gateway, count);

    let (mut watch, first) = watch(&gateway, &["--top", "1000"]);
    let entries = table::entries(gateway.gateway()).unwrap();
    let (line, census) = census_of(&mut watch, &first.json, count);
    let states = by(&entries, |entry| Some((entry.protocol.clone(), entry.state.clone())));
    let found = list(&census["states"], |state| {
        (text(&state["protocol"]), text(&state["state"]), number(state, "entries"))
    });
    let expected =
        states.into_iter().map(|((protocol, state), entries)| (protocol, state, entries));
    assert_eq!(found, sorted(expected), "{census}");
    // The scenario has made what it says, or the comparison would be of next to nothing.
    for state in
        ["SYN_SENT", "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT", "CLOSE", "replied", "unreplied"]
    {
        assert!(found.iter().any(|(_, found, _)| found == state), "no {state} in {census}");
    }
    let zones = list(&census["zones"], |zone| (number(zone, "zone"), number(zone, "entries")));
    assert_eq!(zones, [(0, i64::try_from(count - 50).unwrap()), (7, 50)]);
    let all = |is: fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count() as i64;
    let (assured, unreplied) = (all(|entry| entry.assured), all(|entry| entry.unreplied));
    assert_eq!(number(&census, "assured"), assured, "{census}");
    assert_eq!(number(&census, "unreplied"), unreplied, "{census}");
    assert_eq!(
        (number(&line, "totals.assured"), number(&line, "totals.unreplied")),
        (assured, unreplied)
    );
    for (source, entries) in by(&entries, |entry| entry.assured.then(|| entry.source.clone())) {
        assert_eq!(of_source(&line, &source, None, "assured"), entries, "{source} in {line}");
    }
    for (source, entries) in by(&entries, |entry| entry.unreplied.then(|| entry.source.clone())) {
        assert_eq!(of_source(&line, &source, None, "unreplied"), entries, "{source} in {line}");
    }
    let has_ports = |entry: &Entry| matches!(entry.protocol.as_str(), "tcp" | "udp");
    let to = by(&entries, |entry| {
        has_ports(entry).then(|| {
            (entry.destination.clone(), i64::from(entry.destination_port), entry.protocol.clone())
        })
    });
    let destinations = list(&census["destinations"], |to| {
        let port = to["destination_port"].as_i64();
        (text(&to["destination"]), port, text(&to["protocol"]), number(to, "entries"))
    });
    let with_ports = destinations
        .into_iter()
        .filter_map(|(to, port, protocol, entries)| Some((to, port?, protocol, entries)));
    let expected =
        to.into_iter().map(|((to, port, protocol), entries)| (to, port, protocol, entries));
    assert_eq!(sorted(with_ports), sorted(expected), "{census}");
    assert_consistent(&gateway, &line);
    stop(watch).unwrap();
    drop((open, listener));
}

#[test]
fn census_snat_ports_are_those_of_the_flows_and_of_whom() {
    let Some(gateway) = gateway() else { return };
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    let to = |source, count| FlowPlan::udp(ip(source), count).to(ip("198.51.100.9"), 9999);
    let shares = [("10.0.1.2", 4000_u64), ("10.0.1.3", 2500), ("10.0.1.4", 120)];
    for (source, count) in shares {
        to(source, count).send(gateway.client()).unwrap();
    }
    // Another destination, and another port of the same one: pools of their own.
    FlowPlan::udp(ip("10.0.1.4"), 300)
        .to(ip("198.51.100.10"), 9999)
        .send(gateway.client())
        .unwrap();
    FlowPlan::udp(ip("10.0.1.4"), 200).to(ip("198.51.100.9"), 9998).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 7120);
    // All of them wanted the same ports: this is what that looks like in the kernel's counters.
    let found = conntrack_statistics(gateway.gateway()).unwrap().since(&before).get("found");
    assert!(found >= 2620, "found {found}");

    let (mut watch, first) = watch(&gateway, &[]);
    let (line, census) = census_of(&mut watch, &first.json, 7120);
    let pools = list(&census["snat_pools"], |pool| {
        assert_eq!(
            (text(&pool["address"]), text(&pool["protocol"])),
            (address::OUTSIDE_V4.to_string(), "udp".to_owned())
        );
        assert_eq!(number(pool, "ports"), 64_512, "{pool}");
        (text(&pool["destination"]), number(pool, "destination_port"), number(pool, "ports_used"))
    });
    let pool = |destination: &str, port, used| (destination.to_owned(), port, used);
    assert_eq!(
        pools,
        [
            pool("198.51.100.10", 9999, 300),
            pool("198.51.100.9", 9998, 200),
            pool("198.51.100.9", 9999, 6620)
        ]
    );
    let fullest = &census["snat_pools"][0];
    let holders =
        list(&fullest["sources"], |holder| (text(&holder["source"]), number(holder, "ports_used")));
    let expected = shares.map(|(source, count)| (source.to_owned(), i64::try_from(count).unwrap()));
    assert_eq!(holders, expected, "{fullest}");
    assert_eq!(
        fullest["utilization"].as_f64().unwrap(),
        (6620.0 / 64_512.0 * 1000.0_f64).round() / 1000.0
    );
    assert_consistent(&gateway, &line);
    stop(watch).unwrap();
}

#[test]
fn census_prefixes_and_the_destinations_of_one_source() {
    let Some(gateway) = gateway() else { return };
    let many = NonZeroU64::new(150).unwrap();
    FlowPlan::udp(ip("10.0.7.1"), 600).from_sources(many).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("fd00:10::7:1"), 450).from_sources(many).send(gateway.client()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.7.200"), 400).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.7.200"), 40).to(ip("198.51.100.77"), 53).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 1490);

    let (mut everybody, _) = watch(&gateway, &["--top", "1000"]);
    let line = line_after_now(&mut everybody);
    let prefixes = list(&line["prefixes"], |prefix| {
        (
            text(&prefix["prefix"]),
            number(prefix, "entries"),
            number(prefix, "entries_total"),
            number(prefix, "sources"),
        )
    });
    let prefix =
        |network: &str, entries, total, sources| (network.to_owned(), entries, total, sources);
    assert_eq!(
        prefixes,
        [
            prefix("10.0.7.0/24", 600, 1040, 150),
            prefix("10.0.7.200/32", 440, 440, 1),
            prefix("fd00:10::/64", 450, 450, 150),
        ],
        "{line}"
    );

    let (mut one, first) = watch(&gateway, &["--source", "10.0.7.200"]);
    let (line, census) = census_of(&mut one, &first.json, 1490);
    assert!(
        rows(&line).all(|row| row["source"] == "10.0.7.200") && rows(&line).count() == 2,
        "{line}"
    );
    let destinations = list(&census["destinations"], |to| {
        (
            text(&to["destination"]),
            number(to, "destination_port"),
            number(to, "entries"),
            number(to, "sources"),
        )
    });
    let to = |address: &str, port, entries| (address.to_owned(), port, entries, 1);
    assert_eq!(destinations, [to("198.51.100.1", 8080, 400), to("198.51.100.77", 53, 40)]);
    assert_consistent(&gateway, &line);
    // Nobody came or went: from one line to the next it grows by what is held in that interval, which is rounded.
    let seconds = |line: &Value| line["totals"]["entry_seconds"].as_f64().unwrap();
    let then = line_after_now(&mut one);
    let now = one.next(wait::PATIENCE).unwrap().json;
    let expected = 1490.0 * now["interval_s"].as_f64().unwrap();
    let grown = seconds(&now) - seconds(&then);
    assert!((grown - expected).abs() <= 1490.0 * 0.001, "{grown} and not {expected}: {now}");
    stop(one).unwrap();
    stop(everybody).unwrap();
}

/// Nobody asked, and nothing presses: the walk at the start stays the only one. Who asks gets another.
#[test]
fn census_is_taken_again_only_when_it_is_asked_for() {
    let Some(gateway) = gateway() else { return };
    let (mut asked, first) = watch(&gateway, &["--census", "500ms"]);
    census_of(&mut asked, &first.json, 0);
    let (mut idle, first) = watch(&gateway, &[]);
    let (_, at_start) = census_of(&mut idle, &first.json, 0);
    FlowPlan::udp(ip("10.0.1.2"), 100).send(gateway.client()).unwrap();
    let (_, census) = census_of(&mut asked, &first.json, 100);
    let line = line_after_now(&mut idle);
    assert_eq!(number(&line, "totals.entries"), 100, "{line}");
    assert_eq!(number(&line["census"], "entries"), 0, "{line}");
    let age_s = |census: &Value| census["age_s"].as_f64().unwrap();
    assert!(age_s(&line["census"]) > age_s(&at_start), "{line}");
    assert!(age_s(&line["census"]) > age_s(&census), "{census}");
    stop(asked).unwrap();
    stop(idle).unwrap();
}

/// The census that met `count` entries, with its line.
fn census_of(watch: &mut Ctwatch, first: &Value, count: u64) -> (Value, Value) {
    let has_it = |line: &Value| line["census"]["entries"] == count;
    let line = if has_it(first) {
        first.clone()
    } else {
        watch
            .find(wait::PATIENCE, "the census", |line| {
                Ok(has_it(&line.json).then(|| line.json.clone()))
            })
            .unwrap()
    };
    let census = line["census"].clone();
    assert!(census["age_s"].as_f64().unwrap() < wait::PATIENCE.as_secs_f64(), "{census}");
    (line, census)
}

fn wait_for(gateway: &Gateway, state: &str, entries: usize) {
    let what = format!("{entries} entries in {state}");
    wait::until(wait::PATIENCE, &what, || {
        let all = table::entries(gateway.gateway())?;
        let found = all.iter().filter(|entry| entry.state == state).count();
        Ok((found == entries).then_some(()))
    })
    .unwrap();
}

fn wait_for_entries(gateway: &Gateway, count: u64) {
    wait::until(wait::PATIENCE, &format!("{count} entries"), || {
        Ok((counters::entries(gateway.gateway())? == count).then_some(()))
    })
    .unwrap();
}

/// How many entries there are of each key.
fn by<K: Ord>(entries: &[Entry], key: impl Fn(&Entry) -> Option<K>) -> BTreeMap<K, i64> {
    let mut counts = BTreeMap::new();
    for key in entries.iter().filter_map(key) {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn list<T: Ord>(values: &Value, of: impl Fn(&Value) -> T) -> Vec<T> {
    sorted(values.as_array().unwrap().iter().map(of))
}

fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort();
    values
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
