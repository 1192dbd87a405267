//! Lists for nft on the kernels of the lab: loaded, loaded again for longer, and what that does to the packets of the blocked.

#[path = "../degraded/blocklist_formats/loading.rs"]
mod loading;

use ctwatch::blocklist::Blocklist;
use ctwatch_lab::{FlowPlan, counters, wait};

use self::loading::{FORMATS, block, elements, kept, loaded, nft, nft_well, rendered, run_well};
use crate::observed::{gateway, ip};

/// An address and a network of each family, and a customer's /64.
const BLOCKED: [&str; 5] =
    ["10.0.1.66", "10.0.3.0/24", "fd00:10::66", "fd00:10:0:0:7::/80", "fd00:10:0:9::/64"];
/// A source in each.
const SOURCES: [&str; 5] =
    ["10.0.1.66", "10.0.3.9", "fd00:10::66", "fd00:10:0:0:7::9", "fd00:10:0:9:a::9"];

#[test]
fn a_list_for_nft_is_loaded_extended_and_drops_before_conntrack() {
    let Some(gateway) = gateway() else { return };
    for (name, options) in FORMATS {
        let list = |wall_ns, duration_s| {
            let why = format!("holds 80 % for {duration_s} s");
            Blocklist::new(wall_ns, BLOCKED.map(|network| block(network, duration_s, &why)))
        };
        for (wall_ns, duration_s) in [(1, 60), (2, 600)] {
            let list = list(wall_ns, duration_s);
            let text = rendered(name, &list);
            nft(&gateway, &[options, &["-c"]].concat(), &text);
            nft(&gateway, options, &text);
            let (entries, left_s) = loaded(&gateway);
            assert_eq!(entries, kept(name, &list), "{name}");
            // Extended, and not what was left before.
            assert!(left_s.values().all(|left_s| *left_s > duration_s - 60), "{name} {left_s:?}");
        }
        for command in
            rendered(name, &list(2, 600)).lines().filter_map(|line| line.strip_prefix("#   "))
        {
            run_well(&gateway, "sh", &["-c", command]);
        }
        counters::flush(gateway.gateway()).unwrap();
        for source in SOURCES {
            FlowPlan::udp(ip(source), 3).send(gateway.client()).unwrap();
        }
        for source in ["10.0.1.2", "fd00:10::2"] {
            FlowPlan::udp(ip(source), 7).send(gateway.client()).unwrap();
        }
        wait::until(wait::PATIENCE, "the entries of the others", || {
            Ok((counters::entries(gateway.gateway())? == 14).then_some(()))
        })
        .unwrap();
        for source in SOURCES {
            assert_eq!(counters::listed(gateway.gateway(), ip(source)).unwrap(), 0, "{source}");
        }
        let dropped: Vec<u64> = elements(&gateway).into_iter().map(|each| each.2).collect();
        assert_eq!(dropped, [3; 5], "{name}");
        nft_well(&gateway, &["delete", "table", "inet", "ctwatch"]);
    }
}
