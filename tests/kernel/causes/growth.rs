//! Everybody needs more than there is: the limit is raised, nobody is refused any more, and as much is held as was foretold.

use std::num::NonZeroU64;

use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{Flood, FlowPlan, Gateway, address, counters, wait};

use super::{
    Table, advice, advise, advise_during, assert_cause, assert_foretold, crowd, evidence, follow,
    lost, text, wait_for_entries,
};
use crate::observed::{gateway, ip};

#[test]
fn causes_organic_growth_raises_the_limit_and_nobody_is_refused() {
    let Some(gateway) = gateway() else { return };
    // Connections of many that stay open, and so little room besides that the kernel hardly finds whom to evict.
    let (connections, limit, rate) = (420, 450, 60);
    let _table = Table::of(limit, 512);
    gateway.set_timeout("udp_timeout", 30).unwrap();
    let source = ip("10.0.3.1");
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let _open = FlowPlan::tcp_handshake(source, connections)
        .from_sources(NonZeroU64::new(70).unwrap())
        .to(address::server(source), 8080)
        .send(gateway.client())
        .unwrap();
    let flows = |first, count| {
        crowd("10.0.4.1", 80, count).starting_at(first).at_rate(NonZeroU64::new(rate).unwrap())
    };
    flows(0, 100).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, limit - 20);
    let before = lost(&gateway, &flows(100, 200), "drop");
    assert!(before > 0.1, "{before}");
    let diagnosis = advise_during(&gateway, flows(1000, 100_000), rate);
    assert_cause(&diagnosis, "growth");
    assert!(evidence(&diagnosis, "sources") >= 120.0, "{diagnosis}");
    let advice = advice(&diagnosis, "raise-limit");
    let of = (advice["severity"].as_str(), advice["unasked"].as_bool());
    assert_eq!(of, (Some("critical"), Some(true)), "{advice}");
    assert_eq!(text(&advice["changes"][0]["from"]), limit.to_string(), "{advice}");
    let expected = &advice["expected"];
    let raised = follow(&gateway, advice);
    assert!(raised >= 2 * limit, "{advice}");
    let foretold = expected["refused_share"].as_f64().unwrap();
    let after = lost(&gateway, &flows(200_000, 200), "drop");
    assert_foretold("refused", before, foretold, after);
    let per_entry = evidence(advice, "entry_bytes") as i64;
    let memory = expected["memory_bytes"].as_i64().unwrap();
    assert_eq!(memory, i64::try_from(raised - limit).unwrap() * per_entry, "{advice}");
}

/// The table is nine tenths of what is wanted: from what a full table shows, ctwatch says how much that is.
#[test]
fn causes_growth_is_foretold_from_a_table_that_is_full() {
    let Some(gateway) = gateway() else { return };
    let rate = 150;
    let _room = Table::of(4096, 512);
    gateway.set_timeout("udp_timeout", 3).unwrap();
    let plan = crowd("10.0.4.1", 100, 1_000_000).at_rate(NonZeroU64::new(rate).unwrap());
    let flood = Flood::start(gateway.client(), plan).unwrap();
    wait_for_entries(&gateway, 3 * rate);
    let wanted = mean_entries(&gateway);
    let limit = (0.9 * wanted) as u64;
    let _table = Table::of(limit, 512);
    let diagnosis = advise(&gateway);
    assert_cause(&diagnosis, "growth");
    let advice = advice(&diagnosis, "raise-limit");
    let foretold = evidence(advice, "demand_entries");
    assert!(follow(&gateway, advice) as f64 > 1.5 * wanted, "{advice}");
    wait_for_entries(&gateway, limit + 1);
    let after = mean_entries(&gateway);
    assert_foretold("entries", limit as f64, foretold, after);
    flood.stop().unwrap();
}

/// What the table holds on average over a few of the garbage collector's rounds.
fn mean_entries(gateway: &Gateway) -> f64 {
    let mut seen = Vec::new();
    wait::until(wait::PATIENCE, "a few looks at the table", || {
        seen.push(counters::entries(gateway.gateway())? as f64);
        Ok((seen.len() == 200).then_some(()))
    })
    .unwrap();
    seen.iter().sum::<f64>() / seen.len() as f64
}
