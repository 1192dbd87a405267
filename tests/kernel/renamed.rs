//! conntrack whose functions the compiler renamed: they are found, and every number is exact.

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::modules::{self, ConntrackUnused};
use ctwatch_lab::renamed_symbols::{rename, strip_signature};
use ctwatch_lab::{FlowPlan, Gateway, GatewayPlan, init, wait};

use crate::observed::{
    assert_consistent, gateway, ip, line_after_now, line_with, number, of_source, start_attached,
    stop,
};

const MODULE: &str = "/lib/modules/nf_conntrack.ko";
const RENAMED: &str = "/tmp/nf_conntrack.ko";

/// The renamed module, until it is dropped: then the machine has its own again.
struct Renamed;

impl Renamed {
    fn load(names: &[(&str, &str)]) -> Self {
        let mut module = std::fs::read(MODULE).unwrap();
        strip_signature(&mut module).unwrap();
        for (from, to) in names {
            rename(&mut module, from, to).unwrap();
        }
        std::fs::write(RENAMED, module).unwrap();
        let unused = ConntrackUnused::begin().unwrap();
        unused.unload_conntrack().unwrap();
        modules::load(RENAMED).unwrap();
        // Whatever needs it is loaded again with this.
        drop(unused);
        Self
    }
}

impl Drop for Renamed {
    fn drop(&mut self) {
        let unused = ConntrackUnused::begin().unwrap();
        unused.unload_conntrack().unwrap();
    }
}

#[test]
fn exactness_where_the_compiler_renamed_functions() {
    // It says why where this is no place for it.
    let Some(gateway) = gateway() else { return };
    assert!(init::inside_lab());
    drop(gateway);
    let _renamed = Renamed::load(&[
        ("__nf_conntrack_alloc", "__nf_conntrack_alloc.constprop.0"),
        ("early_drop", "early_drop.isra.0"),
    ]);
    let gateway = Gateway::build(&GatewayPlan::default()).unwrap();
    let _buckets = GlobalSetting::buckets(16_384).unwrap();
    let _limit = GlobalSetting::limit(300).unwrap();
    let mut watch =
        start_attached(&gateway, "auto", &["watch", "--json", "--interval", "250ms"], &[]);
    let first = watch.next(wait::PATIENCE).unwrap().json;
    assert_eq!(first["mode"]["alloc"], "kprobe", "{first}");
    let why_not_higher = first["mode"]["why_not_higher"].to_string();
    assert!(why_not_higher.contains("early_drop.isra.0"), "{first}");
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 250).send(gateway.client()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.3"), 400).send(gateway.client()).unwrap();
    line_with(&mut watch, "totals.new", {
        650 - conntrack_statistics(gateway.gateway()).unwrap().since(&before).get("drop")
    });
    let line = line_after_now(&mut watch);
    let refused = conntrack_statistics(gateway.gateway()).unwrap().since(&before).get("drop");
    assert!(refused > 0, "{line}");
    assert_eq!(number(&line, "totals.refused"), i64::try_from(refused).unwrap(), "{line}");
    assert_eq!(number(&line, "loss.unreadable"), 0, "{line}");
    assert_eq!(number(&line, "loss.requester_unknown"), 0, "{line}");
    let of = |source: &str, key: &str| of_source(&line, source, None, key);
    assert_eq!((of("10.0.1.2", "new"), of("10.0.1.2", "refused")), (250, 0), "{line}");
    assert_eq!(of("10.0.1.3", "new") + of("10.0.1.3", "refused"), 400, "{line}");
    assert_consistent(&gateway, &line);
    stop(watch).unwrap();
    drop(gateway);
}
