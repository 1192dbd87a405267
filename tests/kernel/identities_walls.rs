//! Every identity holds where entries are made and cannot be inserted: no source port left for translation, and hash
//! chains that are too long.

use std::num::NonZeroU64;

use ctwatch_lab::FlowPlan;
use ctwatch_lab::counters::GlobalSetting;

use crate::audited::audited;
use crate::observed::{gateway, ip, nft};

#[test]
fn identities_after_the_source_ports_are_exhausted() {
    let Some(gateway) = gateway() else { return };
    for rule in [
        "add chain inet lab few { type nat hook postrouting priority 90 ; }",
        "add rule inet lab few ip saddr 10.0.1.2 udp dport 8080 masquerade to :2000-2009",
        "add rule inet lab few ip saddr 10.0.1.3 tcp dport 8080 masquerade to :2000-2009",
    ] {
        nft(gateway.gateway(), rule);
    }
    let found = audited(&gateway, |gateway| {
        FlowPlan::udp(ip("10.0.1.2"), 100).send(gateway.client()).unwrap();
        FlowPlan::tcp_syn(ip("10.0.1.3"), 100).send(gateway.client()).unwrap();
    });
    let told = |name: &str| found.kernel.get(name);
    println!(
        "found {}, insert_failed {}, drop {}",
        told("found"),
        told("insert_failed"),
        told("drop")
    );
    assert!(told("found") > 0, "no port was taken");
    assert_eq!(found.left("held"), 20);
    assert_eq!(found.left("witness_new"), 200);
    assert_eq!((found.left("refused"), told("early_drop")), (0, 0));
    assert_eq!(told("drop"), told("insert_failed"), "a clash is both");
}

/// With so many entries in so few buckets chains are as long as the kernel allows, which is from 50 to 79.
const BUCKETS: u64 = 512;
const FLOWS: u64 = 18_000;

#[test]
fn identities_after_chains_that_are_too_long() {
    let Some(gateway) = gateway() else { return };
    let _limit = GlobalSetting::limit(65_536).unwrap();
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let sources = NonZeroU64::new(2).unwrap();
    let found = audited(&gateway, |gateway| {
        let plan = FlowPlan::udp(ip("10.0.1.2"), FLOWS).from_sources(sources);
        plan.send(gateway.client()).unwrap();
    });
    let too_long = found.kernel.get("chaintoolong");
    println!("{too_long} chains too long, {} insert_failed", found.kernel.get("insert_failed"));
    // Before 5.15 there is no limit, and nothing to count it.
    if found.kernel.has("chaintoolong") {
        assert!(too_long > 0);
        assert_eq!(found.kernel.get("insert_failed"), too_long);
    }
    assert_eq!(found.left("witness_new"), FLOWS);
    assert_eq!(found.left("held"), FLOWS - too_long);
    assert_eq!(found.left("refused"), 0);
}
