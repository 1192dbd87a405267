//! Entries stay for longer than anybody needs them: half-closed TCP of an hour, UDP without an answer of ten minutes.

use std::num::NonZeroU64;

use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{FlowPlan, address, table, wait};
use serde_json::{Value, json};

use super::{Table, advice, advise, assert_cause, crowd, evidence, wait_for_entries};
use crate::observed::{gateway, ip};

#[test]
fn causes_close_wait_of_an_hour_is_named_with_its_timeout() {
    let Some(gateway) = gateway() else { return };
    let connections = 400;
    // From 95 % on the garbage collector throws out what is closing.
    let _table = Table::of(connections + 40, 512);
    gateway.set_timeout("tcp_timeout_close_wait", 3600).unwrap();
    let source = ip("10.0.3.1");
    // It never closes its side.
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let open = FlowPlan::tcp_handshake(source, connections)
        .from_sources(NonZeroU64::new(80).unwrap())
        .to(address::server(source), 8080)
        .send(gateway.client())
        .unwrap();
    drop(open);
    wait::until(wait::PATIENCE, "connections in CLOSE_WAIT", || {
        let entries = table::entries(gateway.gateway())?;
        let found = entries.iter().filter(|entry| entry.state == "CLOSE_WAIT").count() as u64;
        Ok((found == connections).then_some(()))
    })
    .unwrap();
    let diagnosis = advise(&gateway);
    assert_cause(&diagnosis, "lingering_state");
    let of = &diagnosis["evidence"];
    assert_eq!(of["timeout"]["value"], "tcp_timeout_close_wait", "{diagnosis}");
    assert_eq!(of["state"]["value"], "tcp in CLOSE_WAIT", "{diagnosis}");
    assert_eq!(
        (of["timeout_s"]["value"].as_u64(), of["timeout_default_s"]["value"].as_u64()),
        (Some(3600), Some(60)),
        "{diagnosis}"
    );
    assert_eq!(of["entries_of_state"]["value"].as_u64(), Some(connections), "{diagnosis}");
    let advice = advice(&diagnosis, "shorten-tcp-timeout-close-wait");
    assert_eq!(advice["changes"], to("tcp_timeout_close_wait", 3600, 60), "{diagnosis}");
    assert_eq!(advice["unasked"], false, "{diagnosis}");
}

#[test]
fn causes_unanswered_udp_of_ten_minutes_is_named_with_its_timeout() {
    let Some(gateway) = gateway() else { return };
    let limit = 1024;
    let _table = Table::of(limit, limit);
    gateway.set_timeout("udp_timeout", 600).unwrap();
    crowd("10.0.2.1", 100, limit - 10).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, limit - 10);
    let diagnosis = advise(&gateway);
    assert_cause(&diagnosis, "lingering_state");
    let of = &diagnosis["evidence"];
    assert_eq!(of["timeout"]["value"], "udp_timeout", "{diagnosis}");
    assert_eq!(of["timeout_s"]["value"].as_u64(), Some(600), "{diagnosis}");
    assert!(evidence(&diagnosis, "share_of_state") > 0.99, "{diagnosis}");
    let advice = advice(&diagnosis, "shorten-udp-timeout");
    assert_eq!(advice["changes"], to("udp_timeout", 600, 30), "{diagnosis}");
}

/// The change of a timeout from one value to another, as advice has it.
fn to(timeout: &str, from_s: u32, to_s: u32) -> Value {
    let key = format!("net.netfilter.nf_conntrack_{timeout}");
    json!([{ "key": key, "from": from_s.to_string(), "to": to_s.to_string() }])
}
