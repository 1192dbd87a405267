//! What a walk of the table tells where dumps are the only source, held against `conntrack -L`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{FlowPlan, address, table};
use serde_json::Value;

use crate::observed::{at, gateway, ip, line_with, row, wait_for_entries, watch};

#[test]
fn the_census_is_that_of_the_table() {
    let Some(gateway) = gateway() else { return };
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let open = FlowPlan::tcp_handshake(ip("10.0.1.3"), 4).send(gateway.client()).unwrap();
    for plan in [
        FlowPlan::tcp_syn(ip("10.0.1.4"), 70),
        FlowPlan::udp(ip("fd00:10::5"), 30),
        FlowPlan::udp(ip("10.0.1.2"), 400).to(ip("198.51.100.9"), 9999),
        FlowPlan::udp(ip("10.0.1.5"), 100).to(ip("198.51.100.9"), 9999),
    ] {
        plan.send(gateway.client()).unwrap();
    }
    wait_for_entries(&gateway, 604);
    let (mut watch, _) = watch(&gateway, "250ms");
    let line = line_with(&mut watch, "the census", |line| line["census"]["entries"] == 604);
    let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
    for entry in table::entries(gateway.gateway()).unwrap() {
        *expected.entry((entry.protocol, entry.state)).or_default() += 1;
    }
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let states = at(&line, "census.states").as_array().unwrap();
    let states: BTreeMap<(String, String), u64> = states
        .iter()
        .map(|state| {
            let key = (text(&state["protocol"]), text(&state["state"]));
            (key, state["entries"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(states, expected);
    assert_eq!(states[&("tcp".to_owned(), "ESTABLISHED".to_owned())], 4);

    let pool = &line["census"]["snat_pools"][0];
    assert_eq!(pool["address"], address::OUTSIDE_V4.to_string(), "{pool}");
    assert_eq!((&pool["destination"], &pool["ports_used"]), (&"198.51.100.9".into(), &500.into()));
    let holders = pool["sources"].as_array().unwrap();
    let holders: Vec<_> =
        holders.iter().map(|h| (text(&h["source"]), h["ports_used"].as_u64())).collect();
    assert_eq!(holders, [("10.0.1.2".to_owned(), Some(400)), ("10.0.1.5".to_owned(), Some(100))]);
    let tcp = row(&line, "10.0.1.3", "tcp").unwrap();
    assert_eq!((&tcp["assured"], &tcp["unreplied"]), (&4.into(), &0.into()), "{tcp}");
    assert_eq!(at(&line, "totals.unreplied"), 600, "{line}");
    drop(open);
}

#[test]
fn a_spoofed_flood_is_named_by_its_destination() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 300).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 5000)
        .to(ip("198.51.100.7"), 53)
        .from_scattered(Ipv4Addr::new(20, 0, 0, 0))
        .send(gateway.client())
        .unwrap();
    wait_for_entries(&gateway, 5300);
    let (mut watch, _) = watch(&gateway, "250ms");
    let line = line_with(&mut watch, "the flood", |line| line["floods"][0]["entries"] == 5000);
    let flood = &line["floods"][0];
    assert_eq!(
        (&flood["destination"], &flood["destination_port"], &flood["protocol"]),
        (&"198.51.100.7".into(), &53.into(), &"udp".into()),
    );
    let sources: Vec<&Value> =
        line["sources"].as_array().unwrap().iter().map(|row| &row["source"]).collect();
    assert_eq!(sources, ["10.0.1.66"]);
    assert_eq!(
        (at(&line, "others.entries"), at(&line, "totals.entries")),
        (&5000.into(), &5300.into())
    );
}

#[test]
fn a_spoofed_flood_that_the_server_answers_is_named_as_well() {
    let Some(gateway) = gateway() else { return };
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.2"), 2000)
        .to(address::SERVER_V4.into(), 8080)
        .from_scattered(Ipv4Addr::new(20, 0, 0, 0))
        .send(gateway.client())
        .unwrap();
    wait_for_entries(&gateway, 2000);
    let (mut watch, _) = watch(&gateway, "250ms");
    let line = line_with(&mut watch, "the flood", |line| line["floods"][0]["entries"] == 2000);
    let flood = &line["floods"][0];
    assert_eq!(flood["half_open_share"], 1.0, "{flood}");
    // Nearly all have got their answer, from a server that knows no better.
    assert!(flood["unreplied_share"].as_f64().unwrap() < 0.5, "{flood}");
    assert_eq!(line["sources"].as_array().map(Vec::len), Some(0), "{line}");
}
