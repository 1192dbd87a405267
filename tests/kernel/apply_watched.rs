//! Changes that have to be confirmed: the watchdog undoes them though `apply` and its whole session are gone, unless somebody
//! confirms; and if it is gone itself, the next command sees that.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use ctwatch_lab::wait;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::changed::{AFTER, BEFORE, Scene, watchdogs};

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[track_caller]
fn wait_for_no_watchdog(scene: &Scene) {
    wait::until(wait::PATIENCE, "the watchdog's end", || {
        Ok(watchdogs(&scene.state).is_empty().then_some(()))
    })
    .unwrap();
}

#[test]
fn apply_unconfirmed_is_undone_though_its_session_was_killed() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    // It looks for long afterwards, so that it is there to be killed.
    let mut arguments = scene.apply_all();
    arguments.retain(|argument| *argument != "--no-look-after");
    arguments.extend(["--for", "5m", "--confirm-within", "15s"]);
    let mut apply = scene
        .command(&arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    scene.wait_for(AFTER);
    // The last value is in force a moment before the journal says that all are.
    wait::until(wait::PATIENCE, "a change set that waits", || {
        Ok((scene.latest_change()["status"] == "awaits_confirmation").then_some(()))
    })
    .unwrap();
    let dogs = watchdogs(&scene.state);
    assert_eq!(dogs.len(), 1, "{dogs:?}");
    // The whole group of its shell, as when a session is torn down.
    let group = Pid::from_raw(i32::try_from(apply.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::HUP).unwrap();
    kill_process_group(group, Signal::KILL).unwrap();
    assert_eq!(apply.wait().unwrap().code(), None);
    assert_eq!(scene.values(), AFTER, "it is not undone before its time");
    let change = scene.latest_change();
    assert_eq!(change["status"], "awaits_confirmation", "{change}");
    scene.run(&scene.apply_all()).refused(1, "waits to be confirmed");

    scene.wait_for(BEFORE);
    wait_for_no_watchdog(&scene);
    let change = scene.latest_change();
    assert_eq!(change["status"], "rolled_back", "{change}");
    assert!(change["explanation"].as_str().unwrap().contains("watchdog"), "{change}");
    scene.run(&["confirm"]).refused(1, "no change is in force");
}

#[test]
fn apply_confirmed_stays_and_its_watchdog_goes() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    let mut arguments = scene.apply_all();
    arguments.extend(["--confirm-within", "5m"]);
    scene.run(&arguments).fine();
    assert_eq!(watchdogs(&scene.state).len(), 1);
    scene.run(&["confirm"]).fine();
    wait_for_no_watchdog(&scene);
    assert_eq!(scene.values(), AFTER);
    assert_eq!(scene.latest_change()["status"], "confirmed");
    scene.run(&["rollback"]).fine();
    assert_eq!(scene.values(), BEFORE);
}

#[test]
fn apply_whose_watchdog_was_killed_is_undone_by_the_next_command() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    let mut arguments = scene.apply_all();
    arguments.extend(["--confirm-within", "2s"]);
    scene.run(&arguments).fine();
    for dog in watchdogs(&scene.state) {
        kill(dog);
    }
    wait_for_no_watchdog(&scene);
    wait::until(wait::PATIENCE, "the deadline", || {
        Ok((scene.latest_change()["status"] == "overdue").then_some(()))
    })
    .unwrap();
    assert_eq!(scene.values(), AFTER);
    let mut again = scene.apply_all();
    again.extend(["--for", "1s", "--no-wait"]);
    let said = scene.run(&again);
    assert!(said.stderr.contains("not confirmed in time"), "{said:?}");
    assert_eq!(scene.values(), BEFORE);
    assert_eq!(scene.latest_change()["status"], "rolled_back");
}
