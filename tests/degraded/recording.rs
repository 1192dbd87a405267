//! Recordings: what is replayed is what was seen, byte by byte, also of one that was killed.

use std::fs::{self, File};
use std::num::NonZeroU64;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use ctwatch_lab::{FlowPlan, Gateway, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::observed::{at, ctwatch, gateway, ip, without_hooks};

/// A recorder that prints the same lines into a file.
struct Recorder {
    child: Child,
    folder: tempfile::TempDir,
}

impl Recorder {
    #[track_caller]
    fn start(gateway: &Gateway, further: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("recording");
        let command = ["record", recording.to_str().unwrap(), "--json", "--interval", "100ms"];
        // Not even the search for hooks, which takes a debug build long.
        let place = ["--attach", "netlink", "--netns", gateway.gateway().name()];
        let child = Command::new(ctwatch())
            .args([&command[..], &place, further].concat())
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("lines")).unwrap())
            .stderr(File::create(folder.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Waits for a line of which `is_it` is true.
    #[track_caller]
    fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) {
        wait::until(wait::PATIENCE, what, || {
            let lines = self.text("lines");
            let whole = lines.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            Ok(whole
                .map(|line| serde_json::from_str(line).unwrap())
                .any(|line| is_it(&line))
                .then_some(()))
        })
        .unwrap();
    }

    /// Sends a signal, waits for its end, and says how it ended.
    fn end(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }

    fn replay(&self, further: &[&str]) -> Output {
        let recording = self.folder.path().join("recording");
        replay(&recording, further)
    }
}

fn replay(recording: &Path, further: &[&str]) -> Output {
    let command = ["replay", recording.to_str().unwrap()];
    Command::new(ctwatch()).args([&command, further].concat()).output().unwrap()
}

#[test]
fn what_is_replayed_is_what_was_seen_byte_by_byte() {
    let Some(gateway) = gateway() else { return };
    let mut recorder = Recorder::start(&gateway, &["--top", "50", "--census", "300ms"]);
    recorder.wait_for("the first line", |_| true);
    let rate = NonZeroU64::new(500).unwrap();
    FlowPlan::udp(ip("10.0.1.66"), 400).at_rate(rate).send(gateway.client()).unwrap();
    FlowPlan::tcp_syn(ip("fd00:10::5"), 7).send(gateway.client()).unwrap();
    recorder.wait_for("all entries", |line| at(line, "totals.entries") == 407);
    recorder.wait_for("a walk of them", |line| at(line, "census.entries") == 407);
    assert_eq!(recorder.end(Signal::TERM), Some(0), "{}", recorder.text("said"));
    assert!(recorder.text("said").contains("recorded "), "{}", recorder.text("said"));

    let lines = recorder.text("lines");
    let replayed = recorder.replay(&["--json"]);
    assert_eq!(String::from_utf8(replayed.stdout).unwrap(), lines);
    assert_eq!(replayed.status.code(), Some(0));
    let said = String::from_utf8(replayed.stderr).unwrap();
    assert!(!said.contains("cut off") && !said.contains("was killed"), "{said}");
    // And as a table, at another speed.
    let table = recorder.replay(&["--speed", "1000x"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert_eq!(
        table.matches("table 407/").count() > 0,
        lines.contains("\"entries\":407"),
        "{table}"
    );
    assert!(table.contains("10.0.1.66"), "{table}");
    // One source is enough for somebody; the others are summed up.
    let one = recorder.replay(&["--json", "--top", "1"]);
    let last: Value = serde_json::from_slice(
        one.stdout.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap(),
    )
    .unwrap();
    assert_eq!(last["sources"].as_array().unwrap().len(), 1, "{last}");
    assert_eq!(
        (at(&last, "others.entries"), at(&last, "totals.entries")),
        (&7.into(), &407.into()),
        "{last}"
    );
}

#[test]
fn one_that_was_killed_is_replayed_up_to_five_seconds_before_its_death() {
    let Some(gateway) = gateway() else { return };
    let mut recorder = Recorder::start(&gateway, &[]);
    FlowPlan::udp(ip("10.0.1.66"), 20).send(gateway.client()).unwrap();
    // Until a block is on the disk: the first one holds what the file is.
    let recording = recorder.folder.path().join("recording");
    recorder.wait_for("the first line", |_| true);
    let beginning = fs::metadata(&recording).unwrap().len();
    wait::until(wait::PATIENCE, "a block", || {
        Ok((fs::metadata(&recording)?.len() > beginning).then_some(()))
    })
    .unwrap();
    assert_eq!(recorder.end(Signal::KILL), None);
    let replayed = recorder.replay(&["--json"]);
    assert_eq!(replayed.status.code(), Some(0));
    let said = String::from_utf8(replayed.stderr).unwrap();
    assert!(said.contains("was killed"), "{said}");
    let (replayed, lines) = (String::from_utf8(replayed.stdout).unwrap(), recorder.text("lines"));
    // The last line may not have got out any more.
    let whole = &lines[..lines.rfind('\n').unwrap() + 1];
    assert!(whole.starts_with(&replayed) || replayed.starts_with(whole), "{said}");
    assert!(replayed.lines().count() >= 40, "{} lines", replayed.lines().count());
}

#[test]
fn a_recording_that_is_there_is_not_replaced_unasked() {
    let Some(gateway) = gateway() else { return };
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("recording");
    let record = |further: &[&str]| {
        let command =
            ["record", recording.to_str().unwrap(), "--duration", "300ms", "--interval", "100ms"];
        let arguments = [&command, further].concat();
        Command::new(ctwatch()).args(without_hooks(&gateway, &arguments)).output().unwrap()
    };
    FlowPlan::udp(ip("10.0.1.2"), 1).send(gateway.client()).unwrap();
    let first = record(&[]);
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    let before = fs::read(&recording).unwrap();
    let second = record(&[]);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("--overwrite"));
    assert_eq!(fs::read(&recording).unwrap(), before);
    assert_eq!(record(&["--overwrite"]).status.code(), Some(0));
    assert_ne!(fs::read(&recording).unwrap(), before);
}
