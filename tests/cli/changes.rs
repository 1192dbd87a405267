//! The commands that change something, where nothing needs to be changed: damaged journals, locks, wrong arguments.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use ctwatch::change::record::{Began, Deadline, Place, PlannedChange, Record};
use ctwatch::change::state::State;
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: &str = "net.netfilter.nf_conntrack_max";

struct Said {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

fn ctwatch(state: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_ctwatch"))
        .args(arguments)
        .env("CTWATCH_STATE_DIR", state)
        .output()
        .unwrap();
    Said {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// It ends with that status, says why, and prints no data.
#[track_caller]
fn assert_refused(state: &Path, arguments: &[&str], status: i32, why: &str) {
    let said = ctwatch(state, arguments);
    assert_eq!(said.status, Some(status), "{arguments:?}: {}", said.stderr);
    assert!(said.stderr.contains(why), "{arguments:?} said: {}", said.stderr);
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    assert_eq!(said.stdout, "");
}

/// A change set of a start of the machine that is over: nothing of it is in force.
fn journal() -> String {
    let began = Record::Began(Began {
        set: 1,
        at_ms: 1_700_000_000_000,
        place: Place {
            boot: "an-earlier-one".to_owned(),
            netns: 1,
            netns_name: "no-such-namespace".to_owned(),
            is_initial: false,
        },
        cause: "growth".to_owned(),
        advice: vec!["raise-limit".to_owned()],
        changes: vec![PlannedChange { key: LIMIT.to_owned(), from: 4_000_001, to: 4_000_002 }],
        deadline: Some(Deadline { boottime_ns: 1, within_s: 1 }),
        before: None,
        predicted_refused_share: None,
    });
    let (set, key) = (1, LIMIT.to_owned());
    let records = [
        began,
        Record::Changing { set, key: key.clone(), old: 4_000_001, new: 4_000_002 },
        Record::Changed { set, key },
        Record::Applied { set },
    ];
    records.iter().map(|record| record.to_line().unwrap()).collect()
}

#[test]
fn without_a_change_there_is_nothing_to_undo_or_confirm() {
    let state = directory();
    let state = state.path();
    assert_eq!(ctwatch(state, &["rollback"]).status, Some(0));
    assert_refused(state, &["confirm"], 1, "no change is in force");
    assert_refused(state, &["rollback", "3"], 2, "there is no change set 3: none was ever made");
    let said = ctwatch(state, &["changes", "--json"]);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.status, &json["changes"]), (Some(0), &Value::Array(Vec::new())));
}

#[test]
fn wrong_arguments_are_explained() {
    let state = directory();
    let state = state.path();
    assert_refused(state, &["rollback", "latest"], 2, "latest");
    assert_refused(state, &["apply", "--confirm-within", "5m"], 2, "--yes");
    assert_refused(state, &["apply", "--yes", "--confirm-within", "48h"], 2, "from 1s to 24h");
    assert_refused(state, &["apply", "--purge"], 2, "--yes");
    assert_refused(state, &["apply", "--netns", "all"], 2, "--netns");
    assert_refused(state, &["apply", "--netns", "no-such-namespace"], 2, "no-such-namespace");
    assert_refused(state, &["apply", "--yes", "--stall", "never"], 2, "milliseconds");
    assert!(!state.join("journal").exists());
}

#[test]
fn what_a_restart_has_undone_needs_no_undoing_and_cannot_be_confirmed() {
    let state = directory();
    fs::write(state.path().join("journal"), journal()).unwrap();
    let said = ctwatch(state.path(), &["changes", "--json"]);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["changes"][0]["status"], "lapsed", "{json}");
    assert_refused(state.path(), &["confirm"], 1, "not in force any more");
    assert_refused(state.path(), &["rollback", "2"], 2, "there is 1");
    let said = ctwatch(state.path(), &["rollback", "1"]);
    assert_eq!(said.status, Some(0), "{}", said.stderr);
    let said = ctwatch(state.path(), &["changes"]);
    assert!(said.stdout.contains("rolled back, by ctwatch rollback"), "{}", said.stdout);
}

#[test]
fn a_journal_that_was_cut_is_read_and_one_that_is_damaged_is_refused() {
    let state = directory();
    let file = state.path().join("journal");
    let whole = journal();
    fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(ctwatch(state.path(), &["changes"]).status, Some(0));
    // The change set is now one that was cut off, and can be undone; the cut line is written over.
    assert_eq!(ctwatch(state.path(), &["rollback"]).status, Some(0));
    assert!(fs::read_to_string(&file).unwrap().ends_with("}\n"));

    let damaged = whole.replacen("4000002", "4000003", 1);
    fs::write(&file, &damaged).unwrap();
    for arguments in [&["changes"][..], &["rollback"], &["rollback", "--force"], &["confirm"]] {
        assert_refused(state.path(), arguments, 1, "line 1 of the journal");
        assert_refused(state.path(), arguments, 1, "mv ");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), damaged, "it is left as it is");
}

#[test]
fn one_at_a_time_changes_anything() {
    let directory = directory();
    let state = State::at(Some(directory.path()));
    let _lock = state.lock().unwrap();
    for arguments in [&["rollback"][..], &["confirm"], &["confirm", "--persist"]] {
        assert_refused(directory.path(), arguments, 1, &std::process::id().to_string());
    }
    assert_eq!(ctwatch(directory.path(), &["changes"]).status, Some(0), "reading is no change");
}

#[test]
fn a_state_directory_that_others_can_write_into_is_refused() {
    let directory = directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for arguments in [&["changes"][..], &["rollback"], &["confirm"]] {
        assert_refused(directory.path(), arguments, 1, "can be written by others");
    }
}

#[test]
fn without_privilege_it_says_so_and_ends_with_77() {
    if !rustix::process::geteuid().is_root() {
        return ctwatch_lab::skip("only root can run ctwatch as somebody else");
    }
    let directory = directory();
    // Where anybody can run it from.
    let program = tempfile::tempdir().unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.path().join("ctwatch");
    fs::copy(env!("CARGO_BIN_EXE_ctwatch"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in
        [&["changes"][..], &["rollback"], &["confirm"], &["apply"], &["apply", "--yes"]]
    {
        let output = Command::new(&program)
            .args(arguments)
            .env("CTWATCH_STATE_DIR", directory.path())
            .uid(65_534)
            .gid(65_534)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(77), "{arguments:?}: {stderr}");
        assert!(stderr.contains("root"), "{arguments:?}: {stderr}");
    }
}
