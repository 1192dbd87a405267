//! `apply --purge`: entries that the shorter timeout would have ended already end with it, those that were just used stay, and it
//! is refused while it cannot be told which is which.

use std::time::Duration;

use ctwatch_lab::{FlowPlan, counters, wait};

use crate::changed::{AFTER, BEFORE, Scene, Values};
use crate::observed::ip;

const IDLE: u64 = 50;
const USED: u64 = 7;

/// The seconds that each UDP entry has left.
fn left_s(scene: &Scene) -> Vec<u64> {
    let list = || Ok(std::fs::read_to_string("/proc/thread-self/net/nf_conntrack")?);
    let text = scene.gateway.gateway().within(list).unwrap();
    let udp = text.lines().filter(|line| line.contains(" udp "));
    udp.map(|line| line.split_whitespace().nth(4).unwrap().parse().unwrap()).collect()
}

#[test]
fn apply_purge_ends_what_was_idle_for_too_long_and_nothing_else() {
    let Some(scene) = Scene::set() else { return };
    let shorter = Values { udp_timeout_s: 8, ..AFTER };
    scene.remember_plan_to(shorter);
    FlowPlan::udp(ip("10.0.1.2"), IDLE).send(scene.gateway.client()).unwrap();
    wait::until(Duration::from_secs(30), "entries that are idle", || {
        let left_s = left_s(&scene);
        let idle = left_s.iter().filter(|left| **left < BEFORE.udp_timeout_s - 9).count();
        Ok((idle as u64 == IDLE).then_some(()))
    })
    .unwrap();
    FlowPlan::udp(ip("10.0.1.3"), USED).send(scene.gateway.client()).unwrap();
    let name = scene.name();
    let purge = ["apply", "udp", "--yes", "--purge", "--no-look-after", "--netns", name];
    let said = scene.run(&purge).fine();
    assert!(
        said.stdout.contains(&format!("purged: {IDLE} of {IDLE} idle entries ended")),
        "{said:?}"
    );
    assert_eq!(counters::entries(scene.gateway.gateway()).unwrap(), USED, "{said:?}");
    scene.run(&["rollback"]).fine();
    assert_eq!(scene.values(), BEFORE);

    // Entries from a moment ago were given the shorter timeout: they only look idle.
    scene.remember_plan_to(Values { udp_timeout_s: 29, ..AFTER });
    scene.run(&purge).refused(1, "was lower than");
    assert_eq!(scene.values(), BEFORE);
}
