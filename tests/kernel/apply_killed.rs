//! Killed at every step: whatever call ctwatch was at when SIGKILL came, `ctwatch rollback` restores every value and file.
//!
//! The process that dies is this test itself, started once more: it runs the library on the real machine, behind a wrapper
//! that kills the process at one call. So nothing in ctwatch can be told to die.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use ctwatch::change::apply::apply;
use ctwatch::change::files::{FileWish, replace};
use ctwatch::change::journal::Journal;
use ctwatch::change::knob::Knob;
use ctwatch::change::machine::Machine;
use ctwatch::change::order::order;
use ctwatch::change::plan::Plan;
use ctwatch::change::record::{Began, Record, UndoneBy};
use ctwatch::change::system::System;
use ctwatch::change::undo::{Foreign, Undoing, undo};
use ctwatch::host::namespace::{NamespaceTarget, NetworkNamespace};
use rustix::process::{Signal, getpid, kill_process};

use crate::changed::{AFTER, BEFORE, Scene};

const ROLE: &str = "CTWATCH_TEST_ROLE";
const CALL: &str = "CTWATCH_TEST_CALL";
const STATE: &str = "CTWATCH_TEST_STATE";
const NETNS: &str = "CTWATCH_TEST_NETNS";

/// Files as they are made persistent: one is new, one is there.
const NEW_FILE: &str = "/etc/modprobe.d/ctwatch-killed.conf";
const OLD_FILE: &str = "/etc/sysctl.d/90-ctwatch-killed.conf";
const OLD_TEXT: &str = "# before\n";

/// The machine, until a call at which the process is killed.
struct Dying {
    machine: Machine,
    calls_left: u64,
}

impl Dying {
    fn call(&mut self) {
        if self.calls_left == 0 {
            kill_process(getpid(), Signal::KILL).unwrap();
            unreachable!("killed");
        }
        self.calls_left -= 1;
    }
}

impl System for Dying {
    fn value(&mut self, knob: &Knob) -> io::Result<String> {
        self.call();
        self.machine.value(knob)
    }

    fn set_value(&mut self, knob: &Knob, value: &str) -> io::Result<()> {
        self.call();
        self.machine.set_value(knob, value)
    }

    fn file(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.call();
        self.machine.file(path)
    }

    fn replace_file(&mut self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.call();
        self.machine.replace_file(path, contents)
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.call();
        self.machine.remove_file(path)
    }

    fn extend_file(&mut self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call();
        self.machine.extend_file(path, offset, bytes)
    }

    fn files_in(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.call();
        self.machine.files_in(directory)
    }
}

/// What the process that dies does.
fn act(role: &str) {
    let variable = |name| std::env::var(name).unwrap();
    let state = PathBuf::from(variable(STATE));
    let target = NamespaceTarget::Path(PathBuf::from(variable(NETNS)));
    let machine = Machine::new(NetworkNamespace::open(&target).ok());
    let mut system = Dying { machine, calls_left: variable(CALL).parse().unwrap() };
    let mut journal = Journal::open(&mut system, state.join("journal")).unwrap();
    let boot = ctwatch::host::boot::id().unwrap();
    let undoing = |by| Undoing { by, foreign: Foreign::LeaveBut(""), at_ms: 4, boot: &boot };
    match role {
        "apply" => {
            let plan = system.file(&state.join("plan.json")).unwrap().unwrap();
            let plan = Plan::from_json(&plan).unwrap();
            let mut changes: Vec<_> =
                plan.advice.iter().flat_map(|advice| advice.changes.clone()).collect();
            order(&mut changes);
            let began = Began {
                set: 1,
                at_ms: 1,
                place: plan.place,
                cause: plan.cause,
                advice: Vec::new(),
                changes,
                deadline: None,
                before: None,
                predicted_refused_share: None,
            };
            apply(began, &mut journal, &mut system, || Ok(())).unwrap();
        }
        "confirm" => {
            journal.append(&mut system, Record::Confirmed { set: 1, at_ms: 2 }).unwrap();
            let wish = |path: &str, text: &str| FileWish {
                path: PathBuf::from(path),
                contents: Some(text.as_bytes().to_vec()),
            };
            let wishes = [
                wish(NEW_FILE, "options nf_conntrack hashsize=512\n"),
                wish(OLD_FILE, "# after\n"),
            ];
            replace(1, &wishes, &mut journal, &mut system, 3).unwrap();
        }
        "rollback" => {
            undo(1, &mut journal, &mut system, &undoing(UndoneBy::Operator)).unwrap();
        }
        "watchdog" => {
            undo(1, &mut journal, &mut system, &undoing(UndoneBy::Watchdog)).unwrap();
        }
        role => unreachable!("{role}"),
    }
}

/// Starts this test once more in a role, to be killed at a call; whether it was.
fn is_killed(scene: &Scene, role: &str, call: u64) -> bool {
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "apply_killed::apply_killed_at_every_step_can_be_undone", "--nocapture"])
        .env(ROLE, role)
        .env(CALL, call.to_string())
        .env(STATE, &scene.state)
        .env(NETNS, scene.gateway.gateway().path())
        .output()
        .unwrap();
    match ended.status.code() {
        None => true,
        Some(0) => false,
        Some(_) => panic!("{role} {call}: {}", String::from_utf8_lossy(&ended.stderr)),
    }
}

#[test]
fn apply_killed_at_every_step_can_be_undone() {
    if let Ok(role) = std::env::var(ROLE) {
        return act(&role);
    }
    let Some(scene) = Scene::set() else { return };
    std::fs::create_dir_all("/etc/sysctl.d").unwrap();
    std::fs::write(OLD_FILE, OLD_TEXT).unwrap();
    // Calls in each role until nothing is left to be killed at: more than so many means that it did something.
    for (role, steps_least) in [("apply", 15), ("confirm", 10), ("rollback", 15), ("watchdog", 15)]
    {
        let mut call = 0;
        loop {
            let _ = std::fs::remove_dir_all(&scene.state);
            scene.remember_plan();
            for earlier in ["apply", "confirm"].iter().take_while(|earlier| **earlier != role) {
                assert!(!is_killed(&scene, earlier, u64::MAX));
            }
            let killed = is_killed(&scene, role, call);
            scene.run(&["rollback"]).fine();
            assert_eq!(scene.values(), BEFORE, "{role} killed at call {call}");
            assert!(!Path::new(NEW_FILE).exists(), "{role} killed at call {call}");
            assert_eq!(
                std::fs::read_to_string(OLD_FILE).unwrap(),
                OLD_TEXT,
                "{role} killed at {call}"
            );
            let _ = scene.run(&["changes", "--json"]).fine();
            if !killed {
                break;
            }
            call += 1;
        }
        println!("{role}: killed at each of {call} calls");
        assert!(call >= steps_least, "{role} has only {call} calls");
    }
    // And it does change what it should: else all of this would be about nothing.
    let _ = std::fs::remove_dir_all(&scene.state);
    scene.remember_plan();
    assert!(!is_killed(&scene, "apply", u64::MAX));
    assert_eq!(scene.values(), AFTER);
    scene.run(&["rollback"]).fine();
    assert_eq!(scene.values(), BEFORE);
    std::fs::remove_file(OLD_FILE).unwrap();
}
