//! Runs Rust's own test programs and sums up what they print; what the tests are about is not known here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::outcome::Outcome;
use crate::packages;
use crate::process;

/// Names the file to which a test that cannot run here appends one line, the reason.
const SKIP_LOG: &str = "CTWATCH_SKIP_LOG";

/// Runs a command that prints libtest's output, shows it, and sums it up.
///
/// A test that wrote a reason into the skip log returned as if it had passed; it is counted as skipped instead.
/// A command that fails without a failed test, because it did not even build, is one failure.
pub(crate) fn run(command: &mut Command, what: &str, skip_log: &Path) -> Result<Outcome> {
    packages::write(skip_log, "")?;
    let mut child = command
        .env(SKIP_LOG, skip_log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::describe(command)))?;
    let output = child.stdout.take().context("the tests have no output")?;
    let mut sum = Sum::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read the tests' output")?;
        let line = String::from_utf8_lossy(&line);
        process::print(&line);
        sum.line(&line);
    }
    let status = child.wait().context("cannot wait for the tests")?;
    let reasons = fs::read_to_string(skip_log)
        .with_context(|| format!("cannot read {}", skip_log.display()))?;
    let reasons: Vec<String> = reasons.lines().map(str::to_owned).collect();
    let mut outcome = sum.outcome(reasons);
    if !status.success() && !outcome.has_failed() {
        outcome.add(Outcome::failed(format!(
            "{what}: `{}` ended with {status}",
            process::describe(command)
        )));
    }
    Ok(outcome)
}

/// The numbers of libtest's result lines so far.
#[derive(Debug, Default)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sum {
    /// Takes in a line; only `test result: ok. 1 passed; 0 failed; 2 ignored; …` counts.
    fn line(&mut self, line: &str) {
        let Some((_, counts)) =
            line.split_once("test result: ").and_then(|(_, rest)| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (Some(Ok(number)), Some(name)) =
                (words.next().map(str::parse::<u64>), words.next())
            else {
                continue;
            };
            match name {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn outcome(&self, skipped: Vec<String>) -> Outcome {
        let really_passed = self.passed.saturating_sub(skipped.len() as u64);
        let mut outcome = Outcome::counted(really_passed, self.failed, self.ignored);
        for reason in skipped {
            outcome.skip(reason);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_summed_and_other_lines_are_not() {
        let mut sum = Sum::default();
        sum.line("test a ... ok");
        sum.line("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.02s");
        sum.line("3 passed; 4 failed");
        sum.line("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s");
        assert_eq!(sum.outcome(Vec::new()).to_string(), "4 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_test_that_could_not_run_has_not_passed() {
        let sum = Sum { passed: 3, failed: 0, ignored: 0 };
        let outcome = sum.outcome(vec!["needs root".to_owned()]);
        assert_eq!(outcome.to_string(), "2 passed, 0 failed, 1 skipped");
        assert_eq!(outcome.reasons(), ["skipped needs root"]);
    }

    #[test]
    fn tests_that_do_not_build_are_a_failure() {
        let log = std::env::temp_dir().join(format!("ctwatch-xtask-skips-{}", std::process::id()));
        let outcome = run(Command::new("sh").args(["-c", "exit 101"]), "unit tests", &log).unwrap();
        fs::remove_file(&log).unwrap();
        assert_eq!(outcome.to_string(), "0 passed, 1 failed, 0 skipped");
    }
}
