//! Very many connections, one after the other: nothing drifts, nothing is lost, and the memory stays what it was.

use std::time::Instant;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{FlowPlan, Gateway, counters, wait};

use crate::observed::{
    assert_consistent, assert_lossless, gateway, ip, is_long, line_after_now, number, resident_kb,
    rungs, stop, watch_on,
};

/// How many connections on each rung, where there is time.
const CONNECTIONS_LONG: u64 = 10_000_000;
/// How many otherwise: half a million on the two rungs of most kernels.
const CONNECTIONS: u64 = 250_000;
/// So many are open at one time at most.
const ROUND: u64 = 25_000;
/// The plans of so many rounds fit into the addresses that swallow; by then the same tuples have long been free.
const ROUNDS_APART: u64 = 160;
/// The memory may grow by so much after the first fifth, whatever the number of connections: what the allocator does not
/// give back of a walk at the wrong moment. A leak of a hundred bytes for each of them is more than that.
const GROWTH_KB_MAX: u64 = 16_384;

#[test]
fn soak_of_very_many_connections() {
    let connections = if is_long() { CONNECTIONS_LONG } else { CONNECTIONS };
    for rung in rungs() {
        let Some(gateway) = gateway() else { return };
        let _room =
            [GlobalSetting::buckets(65_536).unwrap(), GlobalSetting::limit(65_536).unwrap()];
        soak(&rung, &gateway, connections);
    }
}

fn soak(rung: &str, gateway: &Gateway, connections: u64) {
    let began = Instant::now();
    // Walks of the table take memory too: so there are some from the beginning.
    let (mut watch, _first) = watch_on(rung, gateway, &["--top", "3", "--census", "1s"]);
    let rounds = connections / ROUND;
    let mut resident = Vec::new();
    for round in 0..rounds {
        FlowPlan::udp(ip("10.0.1.2"), ROUND)
            .from_sources(16_384.try_into().unwrap())
            .starting_at(round % ROUNDS_APART * ROUND)
            .send(gateway.client())
            .unwrap();
        wait_for_entries(gateway, ROUND);
        counters::flush(gateway.gateway()).unwrap();
        wait_for_entries(gateway, 0);
        // Its lines are taken, or they would wait in this process.
        watch.forget().unwrap();
        if round % (rounds / 10) == 0 {
            resident.push(resident_kb(&watch));
        }
    }
    let line = line_after_now(&mut watch);
    resident.push(resident_kb(&watch));
    println!(
        "{rung}: {connections} connections in {} s, resident after each tenth: {resident:?} kB",
        began.elapsed().as_secs()
    );
    let all = i64::try_from(rounds * ROUND).unwrap();
    assert_eq!((number(&line, "totals.new"), number(&line, "totals.ended")), (all, all), "{line}");
    assert_eq!(number(&line, "witness.difference"), 0, "{line}");
    assert_consistent(gateway, &line);
    assert_lossless(&line);
    let (early_kb, late_kb) = (resident[2], resident[resident.len() - 1]);
    assert!(late_kb <= early_kb + GROWTH_KB_MAX, "{resident:?}");
    stop(watch).unwrap();
}

fn wait_for_entries(gateway: &Gateway, wanted: u64) {
    wait::until(wait::PATIENCE, &format!("{wanted} entries"), || {
        Ok((counters::entries(gateway.gateway())? == wanted).then_some(()))
    })
    .unwrap();
}
