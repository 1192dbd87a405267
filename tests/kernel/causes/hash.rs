//! The buckets are wrong: too few, so that entries are lost with room left, or too many, so that a full table finds nobody to
//! evict. Both losses are foretold, and so is what is left of them.

use std::num::NonZeroU64;

use ctwatch_lab::service::TcpListener;
use ctwatch_lab::{FlowPlan, address, counters, skip, wait};

use super::{
    Table, advice, advise, advise_during, assert_cause, assert_foretold, crowd, evidence, follow,
    lost, refusal, wait_for_entries,
};
use crate::observed::{gateway, ip};

#[test]
fn causes_too_few_buckets_lose_as_many_entries_as_foretold() {
    let Some(gateway) = gateway() else { return };
    let (limit, buckets) = (32_768, 512);
    let _table = Table::of(limit, buckets);
    // 59 links to a bucket, of which the kernel allows 50 to 79.
    crowd("10.0.2.1", 200, 15_000).send(gateway.client()).unwrap();
    let settled = || counters::entries(gateway.gateway());
    wait::until_quiet(wait::PATIENCE, wait::PATIENCE / 100, "entries", settled).unwrap();
    let more = crowd("10.0.2.1", 200, 200_000).starting_at(15_000);
    let diagnosis = advise_during(&gateway, more, 500);
    if diagnosis["evidence"].get("chaintoolong").is_none() {
        skip("this kernel has no limit on hash chains");
        return;
    }
    assert_cause(&diagnosis, "buckets_too_small");
    assert!(refusal(&diagnosis, "raise_limit").contains("chains"), "{diagnosis}");
    let advice = advice(&diagnosis, "set-buckets");
    assert_eq!(advice["evidence"]["chain_limit"]["value"], "50 to 79", "{diagnosis}");
    let (load, measured) = (evidence(&diagnosis, "load"), evidence(&diagnosis, "insert_loss"));
    let predicted = evidence(&diagnosis, "insert_loss_long_limit");
    assert_foretold(&format!("insertions lost at a load of {load:.1}"), 0.0, predicted, measured);
    let foretold = &advice["expected"]["further"]["insert_loss"]["value"];
    assert_eq!(follow(&gateway, advice), limit);
    // As the kernel counts it, without ctwatch.
    let after = crowd("10.0.2.1", 200, 1000).starting_at(220_000);
    let after = lost(&gateway, &after, "chaintoolong");
    assert_foretold("insertions lost", measured, foretold.as_f64().unwrap(), after);
    assert!(measured > 0.1, "{diagnosis}");
}

#[test]
fn causes_too_many_buckets_refuse_as_many_packets_as_foretold() {
    let Some(gateway) = gateway() else { return };
    // A tenth of the table can be evicted: the rest is connections that are open.
    let (limit, connections) = (512, 440);
    let _table = Table::of(limit, 8 * limit);
    gateway.set_timeout("udp_timeout", 30).unwrap();
    let source = ip("10.0.3.1");
    let _listener = TcpListener::start(gateway.server(), 8080).unwrap();
    let _open = FlowPlan::tcp_handshake(source, connections)
        .from_sources(NonZeroU64::new(40).unwrap())
        .to(address::server(source), 8080)
        .send(gateway.client())
        .unwrap();
    let flows = |first, count| {
        crowd("10.0.4.1", 100, count).starting_at(first).at_rate(NonZeroU64::new(1500).unwrap())
    };
    flows(0, 1000).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, limit - 2);
    let before = lost(&gateway, &flows(1000, 3000), "drop");
    let diagnosis = advise_during(&gateway, flows(10_000, 1_000_000), 1000);
    assert_cause(&diagnosis, "buckets_too_large");
    assert!(refusal(&diagnosis, "raise_limit").contains("buckets"), "{diagnosis}");
    let predicted = evidence(&diagnosis, "refused_share_predicted");
    assert_foretold("refused with many buckets", 0.0, predicted, before);
    assert_foretold(
        "refused with many buckets, as ctwatch sees it",
        before,
        predicted,
        evidence(&diagnosis, "refused_share"),
    );
    let advice = advice(&diagnosis, "set-buckets");
    assert_eq!(advice["unasked"], false, "{advice}");
    let predicted = advice["expected"]["refused_share"].as_f64().unwrap();
    assert_eq!(follow(&gateway, advice), limit);
    let after = lost(&gateway, &flows(1_100_000, 6000), "drop");
    assert_foretold("refused", before, predicted, after);
    let diagnosis = advise(&gateway);
    assert!(diagnosis["cause"] != "buckets_too_large", "{diagnosis}");
}
