//! The table of the old guide's procedure: each step has its counterpart, and each command in it is one that the command line takes.

use std::{fs, path::Path};

use clap::Parser as _;
use ctwatch::cli::Cli;

/// What the guide had people do, by a word of each step.
const STEPS: [&str; 12] = [
    "ip_conntrack_max`,",
    "/proc/net/ip_conntrack",
    "dmesg",
    "lsmod",
    "rmmod",
    "sysctl -w",
    "hashsize",
    "/etc/sysctl.conf",
    "sort \\| uniq -c",
    "generic_timeout",
    "timeout_established",
    "freeze",
];

#[test]
fn every_step_has_commands_that_the_command_line_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/the-old-guide.md");
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.trim_matches('|').split(" | ").collect())
        .collect();
    assert_eq!(rows.len(), STEPS.len(), "{rows:?}");
    for (row, step) in rows.iter().zip(STEPS) {
        let [old, wrong, new] = row.as_slice() else { panic!("{row:?}") };
        assert!(old.contains(step), "{step} in {old}");
        assert!(!wrong.trim().is_empty(), "{step}");
        let commands: Vec<&str> =
            code(new).into_iter().filter(|code| code.starts_with("ctwatch ")).collect();
        assert!(!commands.is_empty(), "{step} has no command in {new}");
        for command in commands {
            let parsed = Cli::try_parse_from(command.split_whitespace());
            assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
        }
    }
}

/// What stands between backticks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
