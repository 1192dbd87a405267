//! What the program says and how it ends, where no kernel is needed for it.

use std::process::{Command, Output};

fn ctwatch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ctwatch"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the output is text")
}

/// Wrong arguments end with 2, say why on standard error, and print no data.
fn assert_usage_error(arguments: &[&str], why: &str) {
    let output = ctwatch(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.contains(why), "{arguments:?} said: {said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn an_unknown_flag_is_named() {
    assert_usage_error(&["watch", "--colour"], "--colour");
}

#[test]
fn an_unknown_command_is_named() {
    assert_usage_error(&["wach"], "wach");
}

#[test]
fn an_impossible_interval_is_explained() {
    assert_usage_error(&["watch", "--interval", "0s"], "longer than zero");
    assert_usage_error(&["watch", "--interval", "1ms"], "from 100ms to 1h");
    assert_usage_error(&["watch", "--interval", "soon"], "250ms");
    assert_usage_error(&["watch", "--interval=-1s"], "longer than zero");
}

#[test]
fn a_missing_namespace_is_named() {
    assert_usage_error(&["watch", "--once", "--netns", "no-such-namespace"], "no-such-namespace");
    assert_usage_error(&["watch", "--once", "--netns", "/no/such/file"], "/no/such/file");
    assert_usage_error(
        &["watch", "--once", "--netns", "/proc/self/status"],
        "not a network namespace",
    );
}

#[test]
fn an_audit_takes_a_time() {
    assert_usage_error(&["audit", "--for", "0s"], "longer than zero");
    assert_usage_error(&["audit", "--for", "long"], "250ms");
    assert_usage_error(&["audit", "--interval", "1s"], "--interval");
    assert_usage_error(&["audit", "--netns", "no-such-namespace"], "no-such-namespace");
}

#[test]
fn what_if_takes_a_timeout_and_seconds() {
    fn what_if(question: &str) -> [&str; 3] {
        ["advise", "--what-if", question]
    }
    assert_usage_error(&what_if("udp_timeout"), "tcp_timeout_close_wait=60");
    assert_usage_error(&what_if("nonsense=1"), "there are tcp_timeout_established, ");
    for seconds in ["0", "-1", "2147484", "soon", ""] {
        assert_usage_error(&what_if(&format!("udp_timeout={seconds}")), "from 1 to 2147483");
    }
    assert_usage_error(&["advise", "--check", "--what-if", "udp_timeout=10"], "--check");
    assert_usage_error(
        &["advise", "--netns", "no-such-namespace", "--what-if", "udp_timeout=10"],
        "no-such-namespace",
    );
    assert_usage_error(&["advise", "--netns", "all", "--what-if", "udp_timeout=10"], "--netns");
}

#[test]
fn advice_is_on_one_namespace_and_within_bounds() {
    assert_usage_error(&["advise", "--netns", "all"], "advice is on one namespace");
    assert_usage_error(&["advise", "--netns", "no-such-namespace"], "no-such-namespace");
    assert_usage_error(&["advise", "--for", "0s"], "longer than zero");
    assert_usage_error(&["advise", "--memory", "100"], "at most 90 percent");
    assert_usage_error(&["advise", "--stall=-1"], "from 0 to 60000");
}

#[test]
fn a_doctor_examines_one_namespace() {
    assert_usage_error(&["doctor", "--netns", "all"], "one namespace");
    assert_usage_error(&["doctor", "--netns", "no-such-namespace"], "no-such-namespace");
    assert_usage_error(&["doctor", "--for", "0s"], "longer than zero");
}

#[test]
fn a_recording_is_a_file_of_its_own() {
    let here = env!("CARGO_MANIFEST_DIR");
    assert_usage_error(&["record"], "FILE");
    assert_usage_error(&["record", &format!("{here}/Cargo.toml")], "is no recording of ctwatch");
    let this = format!("{here}/Cargo.toml");
    assert_usage_error(&["record", &this, "--overwrite"], "is no recording of ctwatch");
    assert_usage_error(&["record", here], "is no recording of ctwatch");
    assert_usage_error(&["record", "r", "--max-bytes", "1000"], "64M");
    assert_usage_error(&["record", "r", "--files", "0"], "--files");
    assert_usage_error(&["record", "r", "--top", "100001"], "100000");
    assert_usage_error(&["record", "r", "--netns", "no-such-namespace"], "no-such-namespace");
    assert!(!std::path::Path::new("r").exists());
}

#[test]
fn only_a_recording_is_replayed() {
    let here = env!("CARGO_MANIFEST_DIR");
    assert_usage_error(&["replay", "/no/such/recording"], "/no/such/recording");
    assert_usage_error(&["replay", &format!("{here}/Cargo.toml")], "not a recording of ctwatch");
    assert_usage_error(&["replay", here], "directory");
    for speed in ["0x", "10", "fast"] {
        assert_usage_error(&["replay", "recording", "--speed", speed], "10x or max");
    }
}

#[test]
fn numbers_are_bounded() {
    assert_usage_error(&["watch", "--max-sources", "0"], "--max-sources");
    assert_usage_error(&["watch", "--top", "many"], "--top");
}

#[test]
fn help_is_data_and_names_every_exit_status() {
    let output = ctwatch(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    for part in [
        "watch",
        "events",
        "audit",
        "0 fine",
        "1 the operation failed",
        "2 wrong arguments",
        "3 something is wrong",
        "77 cannot run here",
    ] {
        assert!(text(&output.stdout).contains(part), "{part}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let output = ctwatch(&["--version"]);
    assert_eq!(text(&output.stdout), format!("ctwatch {}\n", env!("CARGO_PKG_VERSION")));
}
