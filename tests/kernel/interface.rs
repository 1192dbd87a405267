//! What cannot be done is said in a sentence, with the exit status that programs rely on, and without a backtrace.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use crate::observed::{ctwatch, gateway};

/// Runs ctwatch to its end.
fn run(arguments: &[&str]) -> Output {
    // With RUST_BACKTRACE set, as a curious user has it: also then an error is a sentence.
    Command::new(ctwatch()).args(arguments).env("RUST_BACKTRACE", "1").output().unwrap()
}

#[track_caller]
fn assert_refusal(output: &Output, status: i32, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(word), "no word of {word}: {stderr}");
    assert!(
        !stderr.contains("panicked") && !stderr.to_lowercase().contains("backtrace"),
        "{stderr}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "stdout is for data");
}

#[test]
fn interface_refuses_wrong_arguments() {
    let Some(_gateway) = gateway() else { return };
    assert_refusal(&run(&["watch", "--frobnicate"]), 2, "--frobnicate");
    assert_refusal(&run(&["watch", "--interval", "0s"]), 2, "interval");
    assert_refusal(&run(&["watch", "--netns", "nowhere"]), 2, "nowhere");
    assert_refusal(&run(&["watch", "--netns", "/etc/modules.list"]), 2, "/etc/modules.list");
}

#[test]
fn interface_names_the_namespace_that_tracks() {
    let Some(gateway) = gateway() else { return };
    ctwatch_lab::FlowPlan::udp("10.0.1.2".parse().unwrap(), 1).send(gateway.client()).unwrap();
    let output = run(&["watch", "--once", "--netns", gateway.server().name()]);
    assert_refusal(&output, 77, gateway.gateway().name());
    assert_refusal(&output, 77, "cargo xtask lab");
    assert_refusal(
        &run(&["events", "--no-wait", "--netns", gateway.server().name()]),
        77,
        "nothing is tracked",
    );
}

#[test]
fn interface_asks_for_privilege() {
    let Some(_gateway) = gateway() else { return };
    let output =
        Command::new(ctwatch()).args(["watch", "--once"]).uid(65_534).gid(65_534).output().unwrap();
    assert_refusal(&output, 77, "root");
}

/// Whoever reads the output may go away at any time: that is no error.
#[test]
fn interface_ends_quietly_with_its_reader() {
    let Some(gateway) = gateway() else { return };
    ctwatch_lab::FlowPlan::udp("10.0.1.2".parse().unwrap(), 1).send(gateway.client()).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(ctwatch())
        .args(["watch", "--json", "--interval", "100ms", "--netns", gateway.gateway().name()])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), "")
    );
}
