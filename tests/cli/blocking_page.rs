//! The page on blocking: each command of ctwatch in it is one that the command line takes, and each format is told of.

use std::{fs, path::Path};

use clap::Parser as _;
use ctwatch::{blocklist::formats::FORMATS, cli::Cli};

#[test]
fn every_command_is_one_that_the_command_line_takes_and_no_format_is_left_out() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/blocking.md");
    let text = fs::read_to_string(path).unwrap();
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("ctwatch ")).collect();
    for command in &commands {
        let parsed = Cli::try_parse_from(words(command));
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
    for format in FORMATS {
        let option = format!("--format {}", format.name);
        let is_told =
            commands.iter().any(|command| format!("{command} ").contains(&format!("{option} ")));
        assert!(is_told, "{option}");
    }
}

/// The words of a line, of which those between single quotes are one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
