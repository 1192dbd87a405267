//! Running the test binary inside the machine and reading how it went. It must not judge a test itself.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::verdict::{Verdict, parse_result};
use super::{CTWATCH, KERNEL_TESTS, Part, say};
use crate::{ctwatch, skip};

/// Where skipped tests are noted.
const SKIPPED: &str = "/tmp/skipped";

/// Runs a part of the tests that `filters` choose (all if empty), and relays what they print.
///
/// # Errors
/// When they cannot be started.
pub(super) fn run(filters: &[String], part: Part) -> Result<Verdict> {
    let chosen = if part == Part::WHOLE { filters.to_vec() } else { names(filters, part)? };
    let (output, theirs) = std::io::pipe().context("cannot make a pipe")?;
    let child = Command::new(KERNEL_TESTS)
        .args(["--test-threads=1", "--nocapture"])
        .args(chosen)
        .env(ctwatch::BINARY, CTWATCH)
        .env(skip::SKIP_LOG, SKIPPED)
        .stdin(Stdio::null())
        .stdout(theirs.try_clone().context("cannot share a pipe")?)
        .stderr(theirs)
        .spawn()
        .with_context(|| format!("cannot start {KERNEL_TESTS}"))?;
    let relay = std::thread::spawn(move || {
        let mut result = None;
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            say(&line);
            result = parse_result(&line).or(result);
        }
        result
    });
    reap_until(child.id())?;
    // An orphan that still holds the pipe would keep the relay waiting, but then the host's time limit says so.
    let result = relay.join().ok().flatten();
    let skipped = std::fs::read_to_string(SKIPPED).map_or(0, |text| text.lines().count() as u64);
    Ok(Verdict::from_result(result, skipped))
}

/// The arguments that choose a part of the tests by their names.
fn names(filters: &[String], part: Part) -> Result<Vec<String>> {
    let listed = Command::new(KERNEL_TESTS)
        .args(["--list", "--format", "terse"])
        .args(filters)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {KERNEL_TESTS}"))?;
    anyhow::ensure!(listed.status.success(), "the tests cannot be listed: {}", listed.status);
    let listed = String::from_utf8(listed.stdout).context("a test's name cannot be read")?;
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    let mut chosen: Vec<String> =
        names.skip(part.first).step_by(part.of).map(str::to_owned).collect();
    // Without any name all would be run.
    anyhow::ensure!(!chosen.is_empty(), "there are fewer tests than machines for them");
    chosen.push("--exact".to_owned());
    Ok(chosen)
}

/// Waits for every child, as process 1 must for orphans, until the one with this id has ended, and returns how.
pub(super) fn reap_until(id: u32) -> Result<WaitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if u32::try_from(ended.as_raw_pid()) == Ok(id) => {
                return Ok(status);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the machine's processes"),
        }
    }
}
