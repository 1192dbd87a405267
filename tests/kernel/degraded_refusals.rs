//! Without hooks on conntrack refusals are seen as dropped packets: never more of them than the kernel counts, and none
//! of somebody else's.

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{FlowPlan, Namespace, wait};
use serde_json::Value;

use crate::observed::{gateway, ip, line_after_now, nft, number, of_source, start_degraded, stop};

const LIMIT: u64 = 300;
/// Many more buckets than entries: the kernel finds nobody to evict and refuses most.
const BUCKETS: u64 = 16_384;

#[test]
fn degraded_refusals_are_named_and_never_too_many() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let mut watch = start_degraded(&gateway);
    let first = watch.next(wait::PATIENCE).unwrap().json;
    assert_eq!(first["mode"]["early_drop"], "tp_btf", "{first}");
    let before = conntrack_statistics(gateway.gateway()).unwrap();

    // The table fills up, and ctwatch has a look at it before anything is refused.
    FlowPlan::udp(ip("10.0.1.2"), 290).send(gateway.client()).unwrap();
    watch
        .find(wait::PATIENCE, "a nearly full table", |line| {
            Ok((number(&line.json, "table.entries") >= 290).then_some(()))
        })
        .unwrap();
    line_after_now(&mut watch);
    FlowPlan::udp(ip("10.0.1.3"), 500).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("fd00:10::5"), 200).send(gateway.client()).unwrap();
    let line = line_after_now(&mut watch);
    let drop = conntrack_statistics(gateway.gateway()).unwrap().since(&before).get("drop");
    let refused = |source: &str| of_source(&line, source, None, "refused");
    println!("{drop} drops, {} and {} refused", refused("10.0.1.3"), refused("fd00:10::5"));
    assert!(drop > 0);
    assert_eq!(number(&line, "totals.refused"), i64::try_from(drop).unwrap(), "{line}");
    assert!(refused("10.0.1.3") > 0 && refused("fd00:10::5") > 0, "{line}");
    assert_eq!(refused("10.0.1.2"), 0, "{line}");

    // Drops of a rule before conntrack, at a full table, are no refusals.
    let _rule = drop_before_conntrack(gateway.gateway());
    let earlier = line_after_now(&mut watch);
    let drops = conntrack_statistics(gateway.gateway()).unwrap().get("drop");
    FlowPlan::udp(ip("10.0.1.9"), 200).send(gateway.client()).unwrap();
    let later = line_after_now(&mut watch);
    assert_eq!(conntrack_statistics(gateway.gateway()).unwrap().get("drop"), drops);
    assert_eq!(number(&later, "totals.refused"), number(&earlier, "totals.refused"), "{later}");
    assert_nothing_pretended(&later);
    stop(watch).unwrap();
}

/// What this mode cannot see is unknown.
#[track_caller]
fn assert_nothing_pretended(line: &Value) {
    for key in ["drift_entries", "witness"] {
        assert!(line[key].is_null(), "{key} in {line}");
    }
    assert!(
        line["mode"]["degraded"].as_array().is_some_and(|reasons| !reasons.is_empty()),
        "{line}"
    );
}

fn drop_before_conntrack(namespace: &Namespace) -> RuleOfSomebodyElse<'_> {
    nft(namespace, "add table inet somebody");
    nft(namespace, "add chain inet somebody early { type filter hook prerouting priority -300 ; }");
    nft(namespace, "add rule inet somebody early ip saddr 10.0.1.9 drop");
    RuleOfSomebodyElse(namespace)
}

struct RuleOfSomebodyElse<'a>(&'a Namespace);

impl Drop for RuleOfSomebodyElse<'_> {
    fn drop(&mut self) {
        nft(self.0, "delete table inet somebody");
    }
}
