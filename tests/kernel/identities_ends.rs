//! Every identity holds however entries end: dropped on the way, flushed under fire, or thrown out by the kernel's own
//! sweep where the table is nearly full.

use std::num::NonZeroU64;
use std::time::Duration;

use ctwatch_lab::counters::{self, GlobalSetting, conntrack_statistics};
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
const SWEEP: Duration = Duration::from_secs(150);
/// How many entries fit.
const PRESSED: u64 = 2000;

/// Once it has refused a packet, and while the table is nearly full, the kernel's sweep throws out whatever nobody has
/// answered, and counts that nowhere: it is what is missing in the table of all that came, was refused or made room.
#[test]
fn gc_pressure_keeps_the_identities() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(65_536).unwrap();
    let _limit = GlobalSetting::limit(PRESSED).unwrap();
    let mut sent = PRESSED * 6 / 10;
    let found = audited(&gateway, |gateway| {
        FlowPlan::udp(ip("10.0.1.2"), sent).send(gateway.client()).unwrap();
        // It is told of a refusal once, and may have been through most of the table by then (up to 5.14): so they go on.
        let rate_per_s = NonZeroU64::new(100).unwrap();
        let plan = FlowPlan::udp(ip("10.0.1.3"), 50_000).at_rate(rate_per_s);
        let flood = Flood::start(gateway.client(), plan).unwrap();
        wait::until(SWEEP, "the kernel's sweep", || {
            let sent = sent + flood.flows_so_far();
            let held = counters::entries(gateway.gateway())?;
            let kernel = conntrack_statistics(gateway.gateway())?;
            let made_room = kernel.get("drop") + kernel.get("early_drop");
            Ok((held + made_room + SWEPT <= sent).then_some(()))
        })
        .unwrap();
        sent += flood.stop().unwrap().flows;
        // It may be at work still.
        wait::until_quiet(SWEEP, Duration::from_secs(1), "the table", || {
            counters::entries(gateway.gateway())
        })
        .unwrap();
    });
    let (ended, evicted) = (found.left("witness_ended"), found.left("evicted"));
    let swept = sent - found.left("held") - found.left("refused") - evicted;
    println!("{ended} ended, {evicted} of them for a packet, {swept} by the sweep");
    assert_eq!(evicted, found.kernel.get("early_drop"));
    assert_eq!(found.left("refused"), found.kernel.get("drop"));
    assert_eq!(ended - evicted, swept);
    assert!(swept >= SWEPT, "{swept}");
}

/// So many go at least.
const SWEPT: u64 = 20;
