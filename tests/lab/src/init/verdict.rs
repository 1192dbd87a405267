//! The one line that says how the tests went, which the host reads from the console. It must not touch the machine.

use std::fmt;

/// How the tests went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They ran to the end.
    Counted {
        /// Tests that ran and passed.
        passed: u64,
        /// Tests that failed.
        failed: u64,
        /// Tests that said they cannot run here.
        skipped: u64,
    },
    /// They did not, for this reason.
    Error(String),
}

impl Verdict {
    /// The verdict after libtest's line `test result: …` was read, if it was, and `skipped` tests noted why they did not
    /// run: for libtest those have passed.
    #[must_use]
    pub fn from_result(result: Option<(u64, u64)>, skipped: u64) -> Self {
        match result {
            Some((passed, failed)) => {
                Self::Counted { passed: passed.saturating_sub(skipped), failed, skipped }
            }
            None => Self::Error("the tests ended without a result line".to_owned()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted { passed, failed, skipped } => {
                write!(
                    formatter,
                    "ctwatch-lab: verdict passed={passed} failed={failed} skipped={skipped}"
                )
            }
            // One line, whatever the reason holds.
            Self::Error(reason) => {
                let reason: Vec<&str> = reason.split_whitespace().collect();
                write!(formatter, "ctwatch-lab: verdict error={}", reason.join(" "))
            }
        }
    }
}

/// Passed and failed in libtest's line `test result: ok. 3 passed; 0 failed; …`, if `line` is that.
pub(super) fn parse_result(line: &str) -> Option<(u64, u64)> {
    let (_state, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim_end().parse::<u64>().ok())
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtests_lines_are_read() {
        let ok = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 8.41s";
        let bad = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.41s";
        assert_eq!(parse_result(ok), Some((12, 0)));
        assert_eq!(parse_result(bad), Some((1, 2)));
        assert_eq!(parse_result("test exactness::counts ... ok"), None);
        assert_eq!(parse_result("test result: strange"), None);
    }

    #[test]
    fn the_line_is_one_line() {
        assert_eq!(
            Verdict::from_result(Some((12, 1)), 2).to_string(),
            "ctwatch-lab: verdict passed=10 failed=1 skipped=2"
        );
        assert_eq!(
            Verdict::Error("cannot load\n a.ko".to_owned()).to_string(),
            "ctwatch-lab: verdict error=cannot load a.ko"
        );
        assert!(matches!(Verdict::from_result(None, 0), Verdict::Error(_)));
    }
}
