//! What the agent serves over HTTP is what is there: the kernel's own count, and the sources. And what it records beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use ctwatch_lab::{FlowPlan, counters, wait};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use crate::observed::{at, ctwatch, gateway, ip, wait_for_entries};
use crate::served::{Agent, sample};

const FLOWS: u64 = 40;

/// Without even the search for hooks, which takes a debug build long.
const WITHOUT_HOOKS: [&str; 2] = ["--attach", "netlink"];

#[test]
fn metrics_are_what_the_kernel_counts() {
    let Some(gateway) = gateway() else { return };
    let name = gateway.gateway().name();
    FlowPlan::udp(ip("10.0.1.66"), FLOWS).send(gateway.client()).unwrap();
    FlowPlan::udp(ip("10.0.1.2"), 3).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, FLOWS + 3);
    let arguments = ["--netns", name, "--interval", "200ms", "--floor", "10"];
    let arguments = [&arguments[..], &WITHOUT_HOOKS].concat();
    let mut agent = Agent::start(&ctwatch(), gateway.server(), &arguments);
    agent.snapshot("the first dump", |latest| at(latest, "totals.entries") == 43);
    let page = agent.get("/metrics").1;
    for (series, value) in [
        (format!("ctwatch_entries{{netns=\"{name}\"}}"), 43),
        (format!("ctwatch_entries_limit{{netns=\"{name}\"}}"), counters::limit().unwrap()),
        (
            format!(
                "ctwatch_source_entries{{netns=\"{name}\",source=\"10.0.1.66\",protocol=\"udp\"}}"
            ),
            40,
        ),
        // It is below the floor, so it has no series of its own.
        (format!("ctwatch_others_entries{{netns=\"{name}\"}}"), 3),
    ] {
        assert_eq!(sample(&page, &series), Some(value as f64), "{series} in {page}");
    }
    assert!(!page.contains("10.0.1.2\""), "{page}");
    assert!(page.contains("# TYPE ctwatch_kernel_drop_total counter"), "{page}");
    assert_eq!(agent.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(agent.get("/nothing").0, 404);
    assert_eq!(agent.end(), Some(0), "{}", agent.said());
}

#[test]
fn ten_thousand_sources_have_no_more_series_than_are_listed_and_none_when_they_are_idle() {
    let Some(gateway) = gateway() else { return };
    let name = gateway.gateway().name();
    // Sources with fewer entries each would be taken for made up, and not be listed at all.
    let many = 30_000;
    FlowPlan::udp(ip("10.0.4.1"), many)
        .from_sources(std::num::NonZeroU64::new(many / 3).unwrap())
        .send(gateway.client())
        .unwrap();
    FlowPlan::udp(ip("10.0.1.66"), FLOWS).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, many + FLOWS);
    let arguments = ["--netns", name, "--interval", "200ms", "--top", "5", "--floor", "1"];
    let arguments = [&arguments[..], &WITHOUT_HOOKS].concat();
    let agent = Agent::start(&ctwatch(), gateway.server(), &arguments);
    let all = many + FLOWS;
    agent.snapshot("the first dump", |latest| at(latest, "totals.entries") == all);
    let page = agent.get("/metrics").1;
    let held: Vec<f64> = page
        .lines()
        .filter(|line| line.starts_with("ctwatch_source_entries{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    let others = sample(&page, &format!("ctwatch_others_entries{{netns=\"{name}\"}}")).unwrap();
    assert_eq!((held.len(), held[0]), (5, FLOWS as f64), "{page}");
    assert_eq!(held.iter().sum::<f64>() + others, all as f64);
    assert!(page.len() < 60_000, "{} bytes", page.len());

    counters::flush(gateway.gateway()).unwrap();
    agent.snapshot("an empty table", |latest| at(latest, "totals.entries") == 0);
    wait::until(wait::PATIENCE, "no series of any source", || {
        let page = agent.get("/metrics").1;
        Ok((!page.contains("ctwatch_source_entries{")).then_some(()))
    })
    .unwrap();
}

#[test]
fn what_it_records_is_what_it_served() {
    let Some(gateway) = gateway() else { return };
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("recording");
    let configuration = folder.path().join("agent.toml");
    let text = format!("record = '{}'\nfiles = 2\ninterval = '100ms'\n", recording.display());
    fs::write(&configuration, text).unwrap();
    let arguments =
        ["--netns", gateway.gateway().name(), "--config", configuration.to_str().unwrap()];
    let arguments = [&arguments[..], &WITHOUT_HOOKS].concat();
    // Twice, as when the machine was restarted: the second recording does not touch the first.
    for flows in [FLOWS, 2 * FLOWS] {
        FlowPlan::udp(ip("10.0.1.66"), FLOWS).starting_at(flows).send(gateway.client()).unwrap();
        wait_for_entries(&gateway, flows);
        let mut agent = Agent::start(&ctwatch(), gateway.server(), &arguments);
        let mut served = Vec::new();
        for _ in 0..3 {
            let earlier: Option<Value> = served.last().cloned();
            served.push(agent.snapshot("another snapshot", |latest| {
                at(latest, "totals.entries") == flows
                    && earlier.as_ref().is_none_or(|earlier| earlier["ts"] != latest["ts"])
            }));
        }
        let page = agent.get("/metrics").1;
        assert_eq!(sample(&page, "ctwatch_recording_active"), Some(1.0), "{page}");
        assert_eq!(sample(&page, "ctwatch_recording_left_out_total"), Some(0.0), "{page}");
        assert_eq!(agent.end(), Some(0), "{}", agent.said());
        let (lines, said) = replayed(&recording);
        for snapshot in &served {
            assert!(lines.contains(snapshot), "{snapshot}");
        }
        assert!(lines.len() >= served.len() && !said.contains("cut off"), "{said}");
        assert!(lines.iter().any(|line| *at(line, "totals.entries") == flows));
    }
    let (earlier, said) = replayed(&folder.path().join("recording.1"));
    assert!(earlier.iter().any(|line| *at(line, "totals.entries") == FLOWS), "{said}");
    assert!(earlier.iter().all(|line| *at(line, "totals.entries") != 2 * FLOWS), "{said}");
}

fn replayed(recording: &Path) -> (Vec<Value>, String) {
    let output =
        Command::new(ctwatch()).arg("replay").arg(recording).arg("--json").output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.collect(), String::from_utf8(output.stderr).unwrap())
}

/// A small file system. Dropping it unmounts it.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), Some(size.as_c_str())).unwrap();
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_costs_the_recording_and_nothing_else() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), FLOWS).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, FLOWS);
    // A page, which the beginning takes: the first block does not fit any more.
    let disk = SmallDisk::new(4096);
    let recording = disk.0.path().join("recording");
    let arguments = ["--netns", gateway.gateway().name(), "--interval", "100ms"];
    let record = ["--record", recording.to_str().unwrap()];
    let arguments = [&arguments[..], &record, &WITHOUT_HOOKS].concat();
    let mut agent = Agent::start(&ctwatch(), gateway.server(), &arguments);
    wait::until(wait::PATIENCE, "a recording that fails", || {
        let page = agent.get("/metrics").1;
        Ok((sample(&page, "ctwatch_recording_active") == Some(0.0)
            && sample(&page, "ctwatch_recording_failures_total") > Some(0.0)
            && sample(&page, "ctwatch_recording_left_out_total") > Some(0.0))
        .then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", agent.said()));
    assert!(agent.said().contains("No space left"), "{}", agent.said());
    let (status, body) = agent.get("/healthz");
    assert_eq!(status, 200);
    assert!(body.contains("recording cannot be written"), "{body}");
    let earlier = agent.snapshot("a snapshot", |_| true);
    agent.snapshot("a later one", |latest| latest["ts"] != earlier["ts"]);
    assert_eq!(agent.end(), Some(0), "{}", agent.said());
}

#[test]
fn where_it_cannot_listen_it_says_so() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.66"), 1).send(gateway.client()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(ctwatch())
        .args(["agent", "--listen", &address, "--netns", gateway.gateway().name()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn what_is_no_recording_is_not_recorded_over() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    fs::write(&notes, "remember\n").unwrap();
    let output = Command::new(ctwatch())
        .args(["agent", "--listen", "127.0.0.1:0", "--record", notes.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no recording of ctwatch"), "{said}");
    assert_eq!(fs::read_to_string(&notes).unwrap(), "remember\n");
}
