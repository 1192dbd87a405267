//! Every identity holds however entries end: dropped on the way, flushed under fire, or thrown out by the kernel's own
//! sweep where the table is nearly full.

use std::time::Duration;

use ctwatch_lab::counters::{self, GlobalSetting};
use ctwatch_lab::{Flood, FlowPlan, wait};

use crate::audited::audited;
use crate::observed::{gateway, ip, nft};

#[test]
fn identities_after_drops_behind_conntrack() {
    let Some(gateway) = gateway() else { return };
    for rule in [
        "add table inet late",
        "add chain inet late forward { type filter hook forward priority 0 ; }",
        "add rule inet late forward ip saddr 10.0.1.6 drop",
    ] {
        nft(gateway.gateway(), rule);
    }
    let found = audited(&gateway, |gateway| {
        FlowPlan::udp(ip("10.0.1.6"), 500).send(gateway.client()).unwrap();
        FlowPlan::udp(ip("10.0.1.2"), 40).send(gateway.client()).unwrap();
    });
    assert_eq!((found.left("held"), found.left("witness_ended")), (40, 500));
}

/// At a full table, so that also packets are refused whose entries are being deleted.
#[test]
fn identities_after_flushes_under_fire() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(16_384).unwrap();
    let _limit = GlobalSetting::limit(300).unwrap();
    let found = audited(&gateway, |gateway| {
        let flood = Flood::start(gateway.client(), FlowPlan::udp(ip("10.0.1.2"), 20_000)).unwrap();
        let mut flushes = 0;
        while !flood.is_over() {
            counters::flush(gateway.gateway()).unwrap();
            flushes += 1;
        }
        println!("{flushes} flushes, {} flows", flood.finish().unwrap().flows);
    });
    assert_eq!(found.left("witness_new"), 20_000);
    assert!(found.left("refused") > 0);
    assert!(found.left("witness_ended") > 600, "{}", found.left("witness_ended"));
}

/// How long the kernel's sweep takes to come by (`GC_SCAN_INTERVAL_MAX`, net/netfilter/nf_conntrack_core.c), and some.
const SWEEP: Duration = Duration::from_secs(90);

/// How many entries fit. The sweep makes it 95 of 100; before 5.15 it goes through a 128th of the table only, for each
/// time that a packet was refused.
const PRESSED: u64 = 4000;
/// So many entries go at least, and more than one packet can make room for.
const SWEPT: u64 = 20;

/// Once it has refused a packet, and while the table is nearly full, the kernel's sweep throws out whatever nobody has
/// answered, and counts that nowhere.
#[test]
fn gc_pressure_keeps_the_identities() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(65_536).unwrap();
    let _limit = GlobalSetting::limit(PRESSED).unwrap();
    let found = audited(&gateway, |gateway| {
        FlowPlan::udp(ip("10.0.1.2"), 3 * PRESSED / 2).send(gateway.client()).unwrap();
        wait::until(SWEEP, "the kernel's sweep", || {
            Ok((counters::entries(gateway.gateway())? <= PRESSED - SWEPT).then_some(()))
        })
        .unwrap();
    });
    let (ended, evicted) = (found.left("witness_ended"), found.left("evicted"));
    println!("{ended} ended, of them {evicted} for a packet");
    assert!(ended - evicted >= SWEPT / 2, "{ended} ended, {evicted} evicted");
    assert_eq!(evicted, found.kernel.get("early_drop"));
}
