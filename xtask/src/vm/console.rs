//! Reads what a virtual machine prints on its serial console: the verdict, and the ends that have none; it starts no machine.

use crate::outcome::Outcome;

const VERDICT: &str = "ctwatch-lab: verdict ";
const SKIPPED: &str = "skipped: ";
/// Messages after which nothing more can be expected (kernel/panic.c, kernel/rcu/tree_stall.h, kernel/watchdog.c).
const FATAL: [&str; 4] = [
    "Kernel panic - not syncing",
    "rcu_sched self-detected stall",
    "detected stalls on CPUs",
    "soft lockup - CPU",
];

/// Everything that was printed, taken in as it comes.
#[derive(Debug, Default)]
pub(crate) struct Console {
    unfinished_line: Vec<u8>,
    verdicts: Vec<String>,
    skipped: Vec<String>,
    fatal: Option<String>,
}

impl Console {
    /// Takes in more bytes and returns the lines that they completed, without control characters.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                let line: String = String::from_utf8_lossy(&self.unfinished_line)
                    .chars()
                    .filter(|c| !c.is_control())
                    .collect();
                self.unfinished_line.clear();
                self.line(&line);
                lines.push(line);
            } else {
                self.unfinished_line.push(*byte);
            }
        }
        lines
    }

    /// The kernel's own message that it is lost, once there is one.
    pub(crate) fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// What the machine's init found, or why there is no knowing.
    ///
    /// # Errors
    /// The reason as a sentence: no verdict, more than one, an error of init's, or one that cannot be read.
    pub(crate) fn verdict(&self) -> Result<Outcome, String> {
        if let Some(fatal) = &self.fatal {
            return Err(fatal.clone());
        }
        match self.verdicts.as_slice() {
            [] => Err("the machine ended without a verdict".to_owned()),
            [verdict] => self.parse(verdict),
            [_, ..] => Err(format!("the machine gave {} verdicts", self.verdicts.len())),
        }
    }

    fn line(&mut self, line: &str) {
        // The kernel may have put a message of its own in front.
        if let Some((_, verdict)) = line.split_once(VERDICT) {
            self.verdicts.push(verdict.trim().to_owned());
        }
        if let Some((_, reason)) = line.split_once(SKIPPED) {
            self.skipped.push(reason.trim().to_owned());
        }
        if self.fatal.is_none() && FATAL.iter().any(|message| line.contains(message)) {
            self.fatal = Some(line.trim().to_owned());
        }
    }

    fn parse(&self, verdict: &str) -> Result<Outcome, String> {
        if let Some(reason) = verdict.strip_prefix("error=") {
            return Err(reason.to_owned());
        }
        let count = |name: &str| -> Option<u64> {
            verdict
                .split_whitespace()
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        let (Some(passed), Some(failed), Some(skipped)) =
            (count("passed"), count("failed"), count("skipped"))
        else {
            return Err(format!("the verdict `{verdict}` cannot be read"));
        };
        let mut outcome = Outcome::counted(passed, failed, skipped);
        outcome.explain(self.skipped.iter().map(|reason| format!("skipped {reason}")));
        Ok(outcome)
    }
}

/// The part of a console's log that says why a test failed: each panic with its message, or else the end of it all.
pub(crate) fn what_went_wrong(log: &str) -> Vec<String> {
    /// A message with a whole JSON line in it is cut after this many characters.
    const WIDTH: usize = 2_000;
    let lines: Vec<&str> = log.lines().collect();
    let mut wrong: Vec<&str> = Vec::new();
    for (position, line) in
        lines.iter().enumerate().filter(|(_, line)| line.contains("panicked at "))
    {
        let message =
            lines.iter().skip(position + 1).take_while(|line| !line.contains("stack backtrace:"));
        wrong.push(line);
        wrong.extend(message.take(8));
    }
    if wrong.is_empty() {
        wrong.extend(lines.iter().skip(lines.len().saturating_sub(60)));
    }
    wrong
        .into_iter()
        .map(|line| line.chars().filter(|c| !c.is_control()).take(WIDTH).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(output: &str) -> Console {
        let mut console = Console::default();
        console.push(output.as_bytes());
        console
    }

    #[test]
    fn a_verdict_is_read_in_pieces_and_behind_a_kernel_message() {
        let mut console = Console::default();
        assert_eq!(
            console.push(b"[ 1.0] nf_conntrack: table full\r\n[ 2.0] x ctwatch-lab: verd"),
            ["[ 1.0] nf_conntrack: table full"]
        );
        console.push(b"ict passed=3 failed=1 skipped=2\r\n");
        assert_eq!(console.verdict().unwrap().to_string(), "3 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn reasons_for_skipping_are_kept() {
        let console = after(
            "test a ... skipped: no BTF\r\nctwatch-lab: verdict passed=0 failed=0 skipped=1\r\n",
        );
        assert_eq!(console.verdict().unwrap().reasons(), ["skipped no BTF"]);
    }

    #[test]
    fn without_exactly_one_readable_verdict_there_is_an_error() {
        assert!(after("").verdict().unwrap_err().contains("without a verdict"));
        assert!(
            after("ctwatch-lab: verdict passed=1 failed=0 skipped=0").verdict().is_err(),
            "the line is not finished"
        );
        let twice = "ctwatch-lab: verdict passed=1 failed=0 skipped=0\n".repeat(2);
        assert!(after(&twice).verdict().unwrap_err().contains("2 verdicts"));
        assert_eq!(
            after("ctwatch-lab: verdict error=no module veth\n").verdict().unwrap_err(),
            "no module veth"
        );
        assert!(
            after("ctwatch-lab: verdict passed=x failed=0 skipped=0\n")
                .verdict()
                .unwrap_err()
                .contains("cannot be read")
        );
    }

    #[test]
    fn of_a_failed_run_the_panics_are_shown() {
        let log = "[ 1.0] x\r\nthread 'a' (5) panicked at a.rs:1:2:\r\nleft: 1\r\nright: 2\r\nstack backtrace:\r\n   0: f\r\ntest b ... ok\r\n";
        assert_eq!(
            what_went_wrong(log),
            ["thread 'a' (5) panicked at a.rs:1:2:", "left: 1", "right: 2"]
        );
    }

    #[test]
    fn of_a_run_without_panics_the_end_is_shown() {
        let log: String = (0..100).map(|number| format!("line {number}\r\n")).collect();
        let shown = what_went_wrong(&log);
        assert_eq!((shown.len(), shown.last().map(String::as_str)), (60, Some("line 99")));
    }

    #[test]
    fn a_panic_outweighs_a_verdict() {
        let console = after(
            "ctwatch-lab: verdict passed=1 failed=0 skipped=0\n[ 9.9] Kernel panic - not syncing: Attempted to kill init!\n",
        );
        assert!(console.fatal().is_some());
        assert!(console.verdict().unwrap_err().contains("Attempted to kill init"));
    }
}
