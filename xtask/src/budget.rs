//! The budget of the kernels' verifiers: rewritten from what a run measured; the test alone judges it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// Set to rewrite the file from the runs that measure it.
const UPDATE: &str = "CTWATCH_UPDATE_BUDGET";
/// What the test prints before each number.
const MEASURED: &str = "verifier-budget: ";
const FILE: &str = "tests/kernel/verifier_budget.txt";

/// Replaces the lines of a kernel's series by those in its console, if that is asked for and there are some.
///
/// # Errors
/// If the file cannot be read or written.
pub(crate) fn update(workspace: &Workspace, series: &str, console: &str) -> Result<()> {
    if std::env::var_os(UPDATE).is_none() {
        return Ok(());
    }
    let path = workspace.root().join(FILE);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
    if let Some(new) = updated(&old, series, console) {
        fs::write(&path, new).with_context(|| format!("cannot write {FILE}"))?;
        process::say(format!("{FILE}: rewritten for {series}"));
    }
    Ok(())
}

fn updated(old: &str, series: &str, console: &str) -> Option<String> {
    let prefix = format!("{series} ");
    // A test prints behind its own name.
    let measured = console.lines().filter_map(|line| Some(line.split_once(MEASURED)?.1.trim()));
    let new: Vec<&str> = measured.filter(|line| line.starts_with(&prefix)).collect();
    if new.is_empty() {
        return None;
    }
    let (comments, numbers): (Vec<&str>, Vec<&str>) =
        old.lines().partition(|line| line.starts_with('#'));
    let kept = numbers.into_iter().filter(|line| !line.starts_with(&prefix));
    // By the numbers of the series, then by program.
    let by_series: BTreeMap<(Vec<u32>, &str), &str> =
        kept.chain(new).map(|line| (place(line), line)).collect();
    let lines: Vec<&str> = comments.into_iter().chain(by_series.into_values()).collect();
    Some(lines.join("\n") + "\n")
}

fn place(line: &str) -> (Vec<u32>, &str) {
    let mut words = line.split_whitespace();
    let series = words.next().unwrap_or_default();
    let numbers = series.split('.').map(|number| number.parse().unwrap_or(0)).collect();
    (numbers, words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_series_is_replaced() {
        let old = "# why\n6.12 alloc 7\n6.12 gone 1\n6.1 alloc 5\n";
        let console =
            "test verifier ... verifier-budget: 6.12 free 9\nverifier-budget: 6.12 alloc 8\nok\n";
        let new = "# why\n6.1 alloc 5\n6.12 alloc 8\n6.12 free 9\n";
        assert_eq!(updated(old, "6.12", console).as_deref(), Some(new));
        assert_eq!(updated(old, "5.10", console), None);
    }
}
