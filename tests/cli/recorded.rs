//! Recordings of real floods (tests/data/recordings), and what every command that reads one says of them, word by word.
//!
//! `CTWATCH_UPDATE_GOLDEN=1` writes down what is said now; read the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UPDATE: &str = "CTWATCH_UPDATE_GOLDEN";
const RECORDINGS: [&str; 4] =
    ["quiet", "one_source", "flood_to_one_service", "without_machine_state"];
/// What is asked of each: the name of the answer, the arguments in front of the file and behind it.
const QUESTIONS: [(&str, &[&str], &[&str]); 7] = [
    ("replay.txt", &["replay"], &["--top", "3"]),
    ("replay.json", &["replay"], &["--json", "--top", "3"]),
    ("advise.txt", &["advise", "--from"], &[]),
    ("advise.json", &["advise", "--from"], &["--json"]),
    ("doctor.txt", &["doctor", "--from"], &[]),
    ("doctor.json", &["doctor", "--from"], &["--json"]),
    ("check.txt", &["check", "--from"], &["-w", "10", "-c", "90"]),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

#[test]
fn every_recording_gives_the_answers_that_are_written_down() {
    let mut wrong = Vec::new();
    for recording in RECORDINGS {
        let file = folder("data/recordings").join(format!("{recording}.ctw"));
        for (answer, before, behind) in QUESTIONS {
            let output = Command::new(env!("CARGO_BIN_EXE_ctwatch"))
                .args(before)
                .arg(&file)
                .args(behind)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let status = output.status.code().unwrap();
            let may_warn = answer == "check.txt";
            assert!(status == 0 || (may_warn && status == 1), "{recording} {answer}: {said}");
            let found = format!("{}{said}", String::from_utf8(output.stdout).unwrap());
            let golden = folder("golden").join(recording).join(answer);
            if std::env::var_os(UPDATE).is_some() {
                fs::create_dir_all(golden.parent().unwrap()).unwrap();
                fs::write(&golden, &found).unwrap();
            } else if fs::read_to_string(&golden).ok() != Some(found) {
                wrong.push(golden);
            }
        }
    }
    assert!(wrong.is_empty(), "not what is written down (see {UPDATE}): {wrong:#?}");
}

#[test]
fn a_recording_from_before_the_machine_was_recorded_says_what_it_lacks() {
    let file = folder("data/recordings/without_machine_state.ctw");
    let output = Command::new(env!("CARGO_BIN_EXE_ctwatch"))
        .args(["advise", "--from"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("neither settings nor facts"), "{said}");
}

#[test]
fn what_changes_something_refuses_a_recording() {
    let file = folder("data/recordings/one_source.ctw");
    let output = Command::new(env!("CARGO_BIN_EXE_ctwatch"))
        .args(["apply", "--from"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("a recording tells what was"), "{said}");
}

#[test]
fn recordings_are_small() {
    let mut recordings = 0;
    for found in fs::read_dir(folder("data/recordings")).unwrap() {
        let path = found.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ctw") {
            assert!(fs::metadata(&path).unwrap().len() < 50_000, "{}", path.display());
            recordings += 1;
        }
    }
    assert_eq!(recordings, RECORDINGS.len());
}
