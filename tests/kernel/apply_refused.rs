//! Hostile surroundings: what somebody else wrote, two at once, a container, a read-only /proc/sys, a full disk. Each is
//! refused clearly, and nothing is half-done.

use std::process::Command;

use ctwatch::change::state::State;

use crate::changed::{AFTER, BEFORE, HASHSIZE, LIMIT, Said, Scene, Values, said};
use crate::observed::ctwatch;

#[test]
fn apply_does_what_its_plan_says_and_rollback_undoes_it() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    let mut unasked = scene.apply_all();
    unasked.retain(|argument| !["raise-limit", "set-buckets", "udp"].contains(argument));
    scene.run(&unasked).fine();
    let changed = Values { udp_timeout_s: BEFORE.udp_timeout_s, ..AFTER };
    assert_eq!(scene.values(), changed, "without an id only limit and buckets");
    let change = scene.latest_change();
    assert_eq!(change["status"], "in_force", "{change}");
    assert_eq!(change["advice"], serde_json::json!(["raise-limit", "set-buckets"]), "{change}");
    // The rest of the plan may be chosen later; what is not in it may not.
    let one = |id: &'static str| {
        let mut one = unasked.clone();
        one.insert(1, id);
        one
    };
    scene.run(&one("raise-limit")).refused(2, "there is no advice 'raise-limit': there is udp");
    scene.run(&one("udp")).fine();
    assert_eq!(scene.values(), AFTER);
    scene.run(&["rollback"]).fine();
    assert_eq!(scene.values(), changed);
    scene.run(&["rollback", "1"]).fine();
    assert_eq!(scene.values(), BEFORE);
    scene.run(&["rollback", "7"]).refused(2, "there is 1, 2");
}

#[test]
fn apply_is_not_undone_over_what_somebody_else_wrote() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    scene.run(&scene.apply_all()).fine();
    std::fs::write(LIMIT, "12345").unwrap();
    scene.run(&["rollback"]).refused(1, "12345");
    let theirs = Values { limit: 12_345, ..AFTER };
    assert_eq!(scene.values(), theirs, "nothing is half undone");
    assert_eq!(scene.latest_change()["status"], "overwritten");
    scene.run(&["rollback", "--force"]).fine();
    assert_eq!(scene.values(), BEFORE);
}

#[test]
fn apply_whose_values_have_moved_makes_a_new_plan_and_stops() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    std::fs::write(HASHSIZE, "4096").unwrap();
    let mut arguments = scene.apply_all();
    arguments.retain(|argument| !["raise-limit", "set-buckets", "udp"].contains(argument));
    arguments.extend(["--for", "1s"]);
    ctwatch_lab::FlowPlan::udp(crate::observed::ip("10.0.1.2"), 10)
        .send(scene.gateway.client())
        .unwrap();
    scene.run(&arguments).refused(1, "nf_conntrack.hashsize is 4096 now, and was 8192");
    assert_eq!(scene.values(), Values { buckets: 4096, ..BEFORE });
    std::fs::write(HASHSIZE, BEFORE.buckets.to_string()).unwrap();
}

#[test]
fn apply_is_one_at_a_time() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    let state = State::at(Some(&scene.state));
    let lock = state.lock().unwrap();
    for arguments in [scene.apply_all(), vec!["rollback"], vec!["confirm"]] {
        scene.run(&arguments).refused(1, "another ctwatch");
    }
    assert_eq!(scene.values(), BEFORE);
    drop(lock);
    scene.run(&scene.apply_all()).fine();
    assert_eq!(scene.values(), AFTER);
}

/// Runs a script in the gateway's namespace, in a mount namespace of its own, with ctwatch as `$0` and its arguments.
fn within(scene: &Scene, script: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        scene.name(),
        "sh",
        "-ec",
        &format!("{script}; exec \"$0\" \"$@\""),
    ]);
    command.arg(ctwatch()).args(arguments).env("CTWATCH_STATE_DIR", &scene.state);
    said(command.output().unwrap())
}

#[test]
fn apply_in_a_container_says_what_cannot_be_changed_from_there() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    let all = ["apply", "raise-limit", "udp", "--yes", "--no-look-after"];
    let hidden = "mount -t tmpfs none /proc/1";
    within(&scene, hidden, &all).refused(77, "initial network namespace");
    assert_eq!(scene.values(), BEFORE, "nothing is half done");
    // Its own timeouts are its own.
    within(&scene, hidden, &["apply", "udp", "--yes", "--no-look-after"]).fine();
    assert_eq!(scene.values(), Values { udp_timeout_s: AFTER.udp_timeout_s, ..BEFORE });
    scene.run(&["rollback"]).fine();
    assert_eq!(scene.values(), BEFORE);
}

#[test]
fn apply_under_a_read_only_proc_sys_changes_nothing() {
    let Some(scene) = Scene::set() else { return };
    scene.remember_plan();
    let read_only = "mount -o bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys";
    let all = ["apply", "raise-limit", "set-buckets", "udp", "--yes", "--no-look-after"];
    within(&scene, read_only, &all).refused(77, "read-only");
    assert_eq!(scene.values(), BEFORE);
    // It becomes read-only between apply and rollback.
    scene.run(&scene.apply_all()).fine();
    within(&scene, read_only, &["rollback"]).refused(1, "read-only");
    scene.run(&["rollback"]).fine();
    assert_eq!(scene.values(), BEFORE);
}

#[test]
fn apply_on_a_full_disk_changes_nothing_that_it_could_not_undo() {
    let Some(scene) = Scene::set() else { return };
    std::fs::create_dir_all(&scene.state).unwrap();
    let mount = |options: &str| {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&scene.state)
            .status()
            .unwrap();
        assert!(status.success(), "mount -o {options}");
    };
    // A page for the lock, one for the plan, and few for the journal, which fills up at some record or other.
    mount("size=32k,mode=700");
    let mut refusals = 0;
    for _round in 0..40 {
        scene.remember_plan();
        let applied = scene.run(&scene.apply_all());
        if applied.status != Some(0) {
            assert!(
                applied.stderr.contains("disk is full") || applied.stderr.contains("No space left"),
                "{applied:?}"
            );
            assert_eq!(scene.values(), BEFORE, "{applied:?}");
            refusals += 1;
            break;
        }
        assert_eq!(scene.values(), AFTER);
        // It undoes even where it cannot be noted.
        let undone = scene.run(&["rollback"]);
        assert_eq!(scene.values(), BEFORE, "{undone:?}");
        if undone.stdout.contains("could not be told") {
            refusals += 1;
            break;
        }
        undone.fine();
    }
    assert!(refusals > 0, "the disk never became full");
    mount("remount,size=1m,mode=700");
    scene.run(&["rollback"]).fine();
    assert_eq!(scene.values(), BEFORE);
    scene.remember_plan();
    scene.run(&scene.apply_all()).fine();
    assert_eq!(scene.values(), AFTER);
    scene.run(&["rollback"]).fine();
    let status = Command::new("umount").arg(&scene.state).status().unwrap();
    assert!(status.success());
}
