//! The lines that the host reads from the console. It must not measure anything.

use std::fmt;
use std::io::Write as _;

use super::workload::{Measured, Measurement};

/// What each line of results begins with.
const PREFIX: &str = "ctwatch-bench:";

/// Where results go.
#[derive(Debug)]
pub(super) struct Report;

impl Report {
    pub(super) fn new() -> Self {
        Self
    }

    /// What is being done.
    pub(super) fn say(&mut self, what: &str) {
        print(&format!("{PREFIX} doing {what}"));
    }

    /// A configuration that is not measured, and why.
    pub(super) fn skipped(&mut self, configuration: &str, reason: &str) {
        // One line, whatever the reason holds.
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        print(&format!("{PREFIX} skipped configuration={configuration} reason={reason}"));
    }

    /// Results of one run.
    pub(super) fn measured(&mut self, configuration: &str, repeat: u64, measured: &Measured) {
        for measurement in &measured.0 {
            print(&Line { configuration, repeat, measurement }.to_string());
        }
    }

    /// The most memory that a process had.
    pub(super) fn peak(&mut self, configuration: &str, workload: &str, kb: u64) {
        print(&format!("{PREFIX} peak_kb={kb} configuration={configuration} workload={workload}"));
    }

    /// What one hook took.
    pub(super) fn hook(&mut self, workload: &str, name: &str, runs: u64, instructions: u64) {
        print(&format!(
            "{PREFIX} hook={name} workload={workload} runs={runs} instructions={instructions}"
        ));
    }
}

struct Line<'a> {
    configuration: &'a str,
    repeat: u64,
    measurement: &'a Measurement,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measurement { workload, units, window, instructions, counted } = self.measurement;
        write!(
            formatter,
            "{PREFIX} workload={workload} configuration={} repeat={} units={units} seconds={} instructions={} process_instructions={} worker_instructions={}",
            self.configuration,
            self.repeat,
            window.as_secs(),
            instructions.all,
            instructions.process,
            instructions.workers
        )?;
        match counted {
            Some(counted) => write!(formatter, " counted={counted}"),
            None => Ok(()),
        }
    }
}

fn print(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _unheard = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::meter::Instructions;
    use super::*;

    #[test]
    fn a_line_has_names_and_numbers() {
        let mut measurement = Measurement {
            workload: "create",
            units: 20_000,
            window: Duration::from_secs(2),
            instructions: Instructions { all: 700_000_000, process: 1_000, workers: 20 },
            counted: None,
        };
        let text = |measurement: &Measurement| {
            Line { configuration: "none", repeat: 2, measurement }.to_string()
        };
        assert_eq!(
            text(&measurement),
            "ctwatch-bench: workload=create configuration=none repeat=2 units=20000 seconds=2 instructions=700000000 process_instructions=1000 worker_instructions=20"
        );
        measurement.counted = Some(19_999);
        assert!(text(&measurement).ends_with(" worker_instructions=20 counted=19999"));
    }
}
