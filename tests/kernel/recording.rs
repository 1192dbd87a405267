//! A flood that is recorded: replayed it is what was seen, byte by byte, and every refusal is accounted for.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use ctwatch_lab::counters::{GlobalSetting, conntrack_statistics};
use ctwatch_lab::{FlowPlan, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::observed::{ctwatch, gateway, ip, number, rung};

/// How many entries fit.
const LIMIT: u64 = 300;
/// Many more buckets than entries: the kernel refuses most.
const BUCKETS: u64 = 16_384;

#[test]
fn recording_of_a_flood_is_replayed_byte_by_byte() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut recorder = Command::new(ctwatch())
        .args(["record", &path("recording"), "--json", "--interval", "250ms", "--top", "50"])
        .args(["--netns", gateway.gateway().name(), "--attach", &rung()])
        .stdin(Stdio::null())
        .stdout(File::create(path("lines")).unwrap())
        .stderr(File::create(path("said")).unwrap())
        .spawn()
        .unwrap();
    let last_line = || -> Option<Value> {
        let lines = fs::read_to_string(path("lines")).unwrap();
        let whole = lines.rfind('\n').map(|end| &lines[..end])?;
        serde_json::from_str(whole.lines().last()?).ok()
    };
    wait::until(wait::PATIENCE, "the first line", || Ok(last_line().map(drop))).unwrap();
    let before = conntrack_statistics(gateway.gateway()).unwrap();
    FlowPlan::udp(ip("10.0.1.66"), 3000).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("fd00:10::5"), 500).send(gateway.client()).unwrap();
    let drop = wait::until_quiet(wait::PATIENCE, Duration::from_millis(500), "drop", || {
        Ok(conntrack_statistics(gateway.gateway())?.since(&before).get("drop"))
    })
    .unwrap();
    assert!(drop > 0);
    wait::until(wait::PATIENCE, "all refusals", || {
        let line = last_line();
        Ok(line.is_some_and(|line| line["totals"]["refused"] == drop).then_some(()))
    })
    .unwrap();
    kill_process(Pid::from_child(&recorder), Signal::INT).unwrap();
    let status = recorder.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(path("said")).unwrap());

    let run = |arguments: &[&str]| {
        let output = Command::new(ctwatch()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let replay =
        |further: &[&str]| run(&[["replay", &path("recording")].as_slice(), further].concat());
    let lines = fs::read_to_string(path("lines")).unwrap();
    assert_eq!(replay(&["--json"]), lines);
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let lost = number(&last, "loss.ring_full") + number(&last, "loss.events_dropped");
    let events = replay(&["--events", "--json"]);
    let of_kind = |kind: &str| -> i64 {
        let lines = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines = lines.filter(|line| line["kind"] == kind);
        lines.map(|event| 1 + number(&event, "suppressed")).sum()
    };
    assert_eq!(of_kind("refused") + lost, i64::try_from(drop).unwrap(), "{last}");
    let evicted = of_kind("evicted") + number(&last, "loss.evicted_ring_full");
    assert!(evicted > 0, "{last}");
    let evictions = number(&last, "totals.evicted") + number(&last, "totals.evicted_by_gc");
    assert_eq!(evicted, evictions, "{last}");
    assert_eq!(run(&["events", "--from", &path("recording"), "--json"]), events);
}
