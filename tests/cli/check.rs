//! What `check` says and how it ends: a monitoring system reads standard output, and 3 is the status of whatever went wrong.

use std::process::Command;

#[test]
fn wrong_arguments_are_unknown_too() {
    for (arguments, why) in [
        (&["check", "--warning", "much"][..], "from 0 to 100 percent"),
        (&["check", "-w", "95"], "--critical"),
        (&["check", "--colour"], "--colour"),
        (&["check", "--netns", "all"], "one namespace"),
        (&["check", "--netns", "no-such-namespace"], "no-such-namespace"),
        (&["check", "--for", "1h"], "from 100ms to 1m"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ctwatch")).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.starts_with("CONNTRACK UNKNOWN - ") && said.contains(why), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn help_is_help() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ctwatch")).args(["check", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("3 UNKNOWN"));
}
