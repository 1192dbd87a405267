//! The benchmark in a process of its own, since this one must reap whatever ends. It must not measure anything itself.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::INIT;
use super::tests_of_kernel::reap_until;
use super::verdict::Verdict;

/// Runs `ctwatch-lab bench` with `arguments` until it ends.
///
/// # Errors
/// When it cannot be started.
pub(super) fn run(arguments: &[String]) -> Result<Verdict> {
    let child = Command::new(INIT)
        .arg("bench")
        .args(arguments)
        .spawn()
        .with_context(|| format!("cannot start {INIT}"))?;
    let status = reap_until(child.id())?;
    Ok(match status.exit_status() {
        Some(0) => Verdict::Counted { passed: 1, failed: 0, skipped: 0 },
        // It has said why.
        _ => Verdict::Error("the benchmark did not reach its end".to_owned()),
    })
}
