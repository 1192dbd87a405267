//! Every identity holds after a flood over a small limit, of each protocol and of all of them at once.

use std::num::NonZeroU64;

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{Flood, FlowPlan};

use crate::audited::{audited, audited_under_fire};
use crate::observed::{gateway, ip};

const LIMIT: u64 = 300;
/// So many that the kernel finds somebody to throw out for most packets, and nobody for some.
const BUCKETS: u64 = 4096;

#[test]
fn identities_after_floods_over_a_small_limit() {
    let udp = || FlowPlan::udp(ip("10.0.1.2"), 900);
    let tcp = || FlowPlan::tcp_syn(ip("10.0.1.3"), 900);
    let icmp = || FlowPlan::icmp_echo(ip("10.0.1.4"), 900);
    let udp_v6 = || FlowPlan::udp(ip("fd00:10::5"), 900);
    let icmp_v6 = || FlowPlan::icmp_echo(ip("fd00:10::6"), 900);
    for (name, plans) in [
        ("UDP", vec![udp()]),
        ("TCP", vec![tcp()]),
        ("ICMP", vec![icmp()]),
        ("IPv6", vec![udp_v6(), icmp_v6()]),
        ("mixed", vec![udp(), tcp(), icmp(), udp_v6(), icmp_v6()]),
    ] {
        let Some(gateway) = gateway() else { return };
        let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
        let _limit = GlobalSetting::limit(LIMIT).unwrap();
        println!("{name}:");
        let sent: u64 = plans.iter().map(|plan| plan.count).sum();
        let found = audited(&gateway, |gateway| {
            let floods: Vec<Flood> = plans
                .into_iter()
                .map(|plan| Flood::start(gateway.client(), plan).unwrap())
                .collect();
            for flood in floods {
                flood.finish().unwrap();
            }
        });
        let (refused, evicted) = (found.left("refused"), found.left("evicted"));
        assert!(refused > 0 && evicted > 0, "{name}: {refused} refused, {evicted} evicted");
        assert_eq!(refused, found.kernel.get("drop"), "{name}");
        assert_eq!(evicted, found.kernel.get("early_drop"), "{name}");
        assert_eq!(found.left("witness_new"), sent, "{name}");
        assert_eq!(found.sum(&["held", "witness_ended"]), sent - refused, "{name}");
    }
}

#[test]
fn identities_in_mid_flood() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let sources = NonZeroU64::new(50).unwrap();
    let plan = FlowPlan::udp(ip("10.0.1.2"), 1_000_000).from_sources(sources);
    let rate_per_s = NonZeroU64::new(1500).unwrap();
    let flood = Flood::start(gateway.client(), plan.at_rate(rate_per_s)).unwrap();
    audited_under_fire(&gateway, 3);
    let sent = flood.stop().unwrap().flows;
    assert!(sent > 3000, "{sent} flows");
}
