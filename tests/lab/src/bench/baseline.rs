//! What it takes to read a large table that was there before: ctwatch's first listing beside `conntrack -L`, and its memory.
//! It must not compare: the host does.

use std::fs;
use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::agent::Agent;
use super::configuration::{Configuration, Group as Whose};
use super::meter::Instructions;
use super::report::Report;
use super::workload::{Lab, Measured, Measurement};
use crate::counters::{self, GlobalSetting};
use crate::flow::FlowPlan;

/// How many entries the table holds, by default.
pub(super) const ENTRIES: NonZeroU64 = NonZeroU64::MIN.saturating_add(999_999);
/// How many sources they are of.
const SOURCES: NonZeroU64 = NonZeroU64::MIN.saturating_add(9_999);
/// The first of them.
const FIRST_SOURCE: &str = "10.16.0.0";
/// Longer than anything here, in seconds: the entries must not expire.
const TIMEOUT_S: u32 = 86_400;

/// A program that reads the table once and ends.
struct Reader {
    name: &'static str,
    command: &'static [&'static str],
}

const READERS: [Reader; 3] = [
    Reader { name: "conntrack_list", command: &["conntrack", "-L"] },
    Reader {
        name: "ctwatch_fexit",
        command: &["/bin/ctwatch", "watch", "--json", "--once", "--attach", "fexit"],
    },
    Reader {
        name: "ctwatch_netlink",
        command: &["/bin/ctwatch", "watch", "--json", "--once", "--attach", "netlink"],
    },
];

/// The same, going on, so that its memory can be looked at once it knows who holds what.
const WATCH: Configuration = Configuration {
    name: "ctwatch_fexit",
    group: Whose::Ours,
    command: &["/bin/ctwatch", "watch", "--json", "--netns", "{netns}", "--attach", "fexit"],
    ready: Some(("\"totals\":{\"entries\":1", 1)),
    new: |_| None,
    refused: |_| None,
};

/// Measures each reader with one entry, and with all.
///
/// # Errors
/// When the table cannot be filled, or a reader fails.
pub(super) fn measure(lab: &Lab, report: &mut Report, repeats: u64, entries: u64) -> Result<()> {
    let _room =
        [GlobalSetting::buckets(entries.next_power_of_two())?, GlobalSetting::limit(2 * entries)?];
    lab.set_timeout("udp_timeout", TIMEOUT_S)?;
    let plan =
        FlowPlan::udp(FIRST_SOURCE.parse().context("no address")?, entries).from_sources(SOURCES);
    for (workload, memory, until) in
        [("list_one", "memory_one", 1), ("list_all", "memory_all", entries)]
    {
        report.say(&format!("a table of {until} entries"));
        let held = counters::entries(lab.gateway())?;
        lab.send(&plan.clone().starting_at(held).take(until - held))?;
        lab.wait_for_entries(until)?;
        for repeat in 1..=repeats {
            for reader in &READERS {
                report.say(&format!("repeat {repeat}: {workload}, {}", reader.name));
                let instructions = lab.instructions_of(reader.command)?;
                let measurement = Measurement {
                    workload,
                    units: until,
                    window: Duration::ZERO,
                    instructions: Instructions {
                        all: instructions,
                        process: instructions,
                        workers: 0,
                    },
                    counted: None,
                };
                report.measured(reader.name, repeat, &Measured(vec![measurement]));
            }
        }
        let agent = Agent::start(&WATCH, lab.gateway())?.context("a row with a program")?;
        report.peak(WATCH.name, memory, peak_kb(agent.id())?);
        agent.end()?;
    }
    Ok(())
}

/// `VmHWM` of a process (Documentation/filesystems/proc.rst).
fn peak_kb(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    peak.with_context(|| format!("{path} has no VmHWM"))?.parse().context("VmHWM is no number")
}
