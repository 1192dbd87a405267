//! Reads what the lab measured from a console, and finds the least of each; it prints nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

const PREFIX: &str = "ctwatch-bench: ";

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The configurations, in the order in which they took turns.
    pub(crate) configurations: Vec<String>,
    /// How often each was measured.
    pub(crate) repeats: u64,
    /// What was not measured, and why.
    pub(crate) left_out: Vec<String>,
    /// What single hooks took.
    pub(crate) hooks: Vec<Hook>,
    /// The most memory that a process had, in kB, by workload and configuration.
    pub(crate) peaks_kb: BTreeMap<(String, String), u64>,
    /// By workload, configuration and repeat.
    measurements: BTreeMap<(String, String, u64), Measurement>,
}

/// What some work took while somebody watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measurement {
    /// How often something was done: connections, packets, seconds.
    units: u64,
    /// How long it was looked at.
    seconds: u64,
    /// Instructions of everything but whoever watches and the kernel's own workers.
    path: u64,
    /// Instructions of the processes of whoever watches.
    process: u64,
    /// How many of the units were counted by whoever watches.
    counted: Option<u64>,
}

/// The least that some work took, whatever was least in which repeat: what disturbs only adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Least {
    /// How often something was done.
    pub(crate) units: u64,
    /// How long it was looked at.
    pub(crate) seconds: u64,
    /// Instructions of everything but whoever watches and the kernel's own workers.
    pub(crate) path: u64,
    /// Instructions of the processes of whoever watches.
    pub(crate) process: u64,
    /// The fewest units that were counted; `None` if they are not.
    pub(crate) counted: Option<u64>,
}

/// What a hook took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) workload: String,
    pub(crate) runs: u64,
    pub(crate) instructions: u64,
}

impl Results {
    /// Takes the results out of everything that was printed.
    ///
    /// # Errors
    /// If a line of results cannot be read, or there is none.
    pub(crate) fn parse(console: &str) -> Result<Self> {
        let mut results = Self::default();
        for line in console.lines() {
            // The kernel may have put a message of its own in front.
            let Some((_, line)) = line.split_once(PREFIX) else { continue };
            let line = line.trim_end();
            results.line(line).with_context(|| format!("cannot read the result `{line}`"))?;
        }
        ensure!(
            !results.measurements.is_empty() || !results.hooks.is_empty(),
            "the benchmark has no results"
        );
        Ok(results)
    }

    /// The least of all repeats; what is made of several workloads, such as `create` and `end`, is their sum.
    pub(crate) fn least(&self, workloads: &[&str], configuration: &str) -> Option<Least> {
        let least = |workload: &&str| self.least_of(workload, configuration);
        workloads.iter().map(least).reduce(|sum, part| Some(sum?.and(part?))).flatten()
    }

    fn least_of(&self, workload: &str, configuration: &str) -> Option<Least> {
        let of_repeat = |repeat| {
            let key = (workload.to_owned(), configuration.to_owned(), repeat);
            self.measurements.get(&key).copied()
        };
        let all: Vec<Measurement> = (1..=self.repeats).filter_map(of_repeat).collect();
        let first = all.first()?;
        Some(Least {
            units: first.units,
            seconds: first.seconds,
            path: all.iter().map(|one| one.path).min()?,
            process: all.iter().map(|one| one.process).min()?,
            counted: all.iter().map(|one| one.counted).min()?,
        })
    }

    fn line(&mut self, line: &str) -> Result<()> {
        if line.starts_with("doing ") {
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("skipped configuration=") {
            let (configuration, reason) = rest.split_once(" reason=").context("no reason")?;
            self.left_out.push(format!("{configuration}: {reason}"));
            return Ok(());
        }
        let fields: BTreeMap<&str, &str> =
            line.split_whitespace().filter_map(|field| field.split_once('=')).collect();
        let text = |name: &str| -> Result<String> {
            let value = fields.get(name).with_context(|| format!("no {name}"))?;
            Ok((*value).to_owned())
        };
        let number = |name: &str| -> Result<u64> {
            text(name)?.parse().with_context(|| format!("{name} is no number"))
        };
        if fields.contains_key("peak_kb") {
            let key = (text("workload")?, text("configuration")?);
            self.peaks_kb.insert(key, number("peak_kb")?);
            return Ok(());
        }
        if fields.contains_key("hook") {
            self.hooks.push(Hook {
                name: text("hook")?,
                workload: text("workload")?,
                runs: number("runs")?,
                instructions: number("instructions")?,
            });
            return Ok(());
        }
        let (workload, configuration, repeat) =
            (text("workload")?, text("configuration")?, number("repeat")?);
        let process = number("process_instructions")?;
        let others = process + number("worker_instructions")?;
        let measurement = Measurement {
            units: number("units")?,
            seconds: number("seconds")?,
            path: number("instructions")?.saturating_sub(others),
            process,
            counted: fields.contains_key("counted").then(|| number("counted")).transpose()?,
        };
        if !self.configurations.contains(&configuration) {
            self.configurations.push(configuration.clone());
        }
        self.repeats = self.repeats.max(repeat);
        self.measurements.insert((workload, configuration, repeat), measurement);
        Ok(())
    }
}

impl Least {
    /// This and what came after it, done to the same units.
    fn and(self, next: Self) -> Self {
        Self {
            units: self.units,
            seconds: self.seconds + next.seconds,
            path: self.path + next.path,
            process: self.process + next.process,
            counted: self.counted.or(next.counted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
[    1.0] Linux version\r
ctwatch-bench: skipped configuration=bpftrace reason=bpftrace is not in this machine\r
ctwatch-bench: doing repeat 1: connections, none\r
ctwatch-bench: workload=create configuration=none repeat=1 units=10 seconds=2 instructions=305 process_instructions=0 worker_instructions=5\r
ctwatch-bench: workload=end configuration=none repeat=1 units=10 seconds=1 instructions=100 process_instructions=0 worker_instructions=0\r
[    2.0] x ctwatch-bench: workload=create configuration=agent repeat=1 units=10 seconds=2 instructions=340 process_instructions=7 worker_instructions=3 counted=10\r
ctwatch-bench: workload=end configuration=agent repeat=1 units=10 seconds=1 instructions=105 process_instructions=1 worker_instructions=0\r
ctwatch-bench: workload=create configuration=none repeat=2 units=10 seconds=2 instructions=290 process_instructions=0 worker_instructions=0\r
ctwatch-bench: workload=end configuration=none repeat=2 units=10 seconds=1 instructions=120 process_instructions=0 worker_instructions=0\r
ctwatch-bench: workload=create configuration=agent repeat=2 units=10 seconds=2 instructions=350 process_instructions=5 worker_instructions=0 counted=9\r
";

    #[test]
    fn the_least_of_each_counts() {
        let results = Results::parse(CONSOLE).unwrap();
        assert_eq!((results.configurations.len(), results.repeats), (2, 2));
        assert_eq!(results.left_out, ["bpftrace: bpftrace is not in this machine"]);
        let none = Least { units: 10, seconds: 3, path: 390, process: 0, counted: None };
        assert_eq!(results.least(&["create", "end"], "none"), Some(none));
        let agent = Least { units: 10, seconds: 3, path: 434, process: 6, counted: Some(9) };
        assert_eq!(results.least(&["create", "end"], "agent"), Some(agent));
        assert_eq!(results.least(&["refused"], "agent"), None);
        assert_eq!(results.least(&["create", "refused"], "agent"), None);
    }

    #[test]
    fn hooks_are_read() {
        let results =
            Results::parse("ctwatch-bench: hook=alloc workload=refused runs=4 instructions=1000\n")
                .unwrap();
        assert_eq!((results.hooks[0].runs, results.hooks[0].instructions), (4, 1000));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let error = Results::parse("ctwatch-bench: workload=create configuration=none repeat=x\n");
        assert!(format!("{:#}", error.unwrap_err()).contains("repeat is no number"));
        assert!(Results::parse("nothing\n").is_err());
    }
}
