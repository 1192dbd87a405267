//! How many checks passed, failed and could not run, and why not; it runs none of them.

use std::fmt;

/// The sum over checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    passed: u64,
    failed: u64,
    skipped: u64,
    reasons: Vec<String>,
}

impl Outcome {
    /// So many checks passed.
    pub(crate) fn passed(count: u64) -> Self {
        Self { passed: count, ..Self::default() }
    }

    /// One check failed, and why.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self { failed: 1, reasons: vec![format!("FAILED {}", reason.into())], ..Self::default() }
    }

    /// Counts that were reported without reasons.
    pub(crate) fn counted(passed: u64, failed: u64, skipped: u64) -> Self {
        Self { passed, failed, skipped, reasons: Vec::new() }
    }

    /// Adds reasons for what is counted already.
    pub(crate) fn explain(&mut self, reasons: impl IntoIterator<Item = String>) {
        self.reasons.extend(reasons);
    }

    /// Counts one more check that could not run.
    pub(crate) fn skip(&mut self, reason: impl Into<String>) {
        self.skipped += 1;
        self.reasons.push(format!("skipped {}", reason.into()));
    }

    /// Adds other checks to these.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
    }

    /// Why checks failed or could not run, in the order they were met.
    pub(crate) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Whether any check failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed > 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_add_up_with_their_reasons() {
        let mut sum = Outcome::passed(3);
        sum.skip("no kernel");
        sum.add(Outcome::failed("clippy"));
        sum.add(Outcome::counted(1, 0, 2));
        assert_eq!(sum.to_string(), "4 passed, 1 failed, 3 skipped");
        assert_eq!(sum.reasons(), ["skipped no kernel", "FAILED clippy"]);
        assert!(sum.has_failed());
    }
}
