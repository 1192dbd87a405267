//! What watching a gateway costs: the same traffic with each way to watch it, in guest instructions. It must not run
//! anywhere but in the lab's virtual machine, whose clock counts instructions (QEMU's `-icount`).

mod agent;
mod baseline;
mod blocklist;
mod configuration;
mod flat;
mod hooks;
mod meter;
mod report;
mod workload;

use std::num::NonZeroU64;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::agent::Agent;
use self::configuration::{CONFIGURATIONS, Configuration, Group};
use self::report::Report;
use self::workload::{Lab, Measured, RefusedLab};
use crate::init;
use crate::namespace::Namespace;

/// What to measure, and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often each configuration is measured; they take turns
    #[arg(long, default_value = "5")]
    repeats: NonZeroU64,
    /// Whose cost to measure
    #[arg(long, value_enum, default_value_t = Extent::WithPeers)]
    extent: Extent,
    /// How many entries the table of the extent `baseline` holds
    #[arg(long, default_value_t = baseline::ENTRIES)]
    entries: NonZeroU64,
}

/// Whose cost to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Extent {
    /// ctwatch's in each of its modes, and that of other programs.
    WithPeers,
    /// ctwatch's only.
    CtwatchOnly,
    /// That of each hook of ctwatch's by itself, which adds the cost of measuring it.
    Hooks,
    /// Whether ctwatch's is the same however many sources there are.
    Flat,
    /// Reading a large table once, beside `conntrack -L`.
    Baseline,
    /// Keeping many sources out, beside a rule for each.
    Blocklist,
}

/// Measures, and prints a line for each measurement.
///
/// # Errors
/// When this is not the lab's virtual machine, the gateway cannot be built, or traffic is not exactly what it should be.
/// A program that is not there is named and left out.
pub fn run(options: &Options) -> Result<()> {
    ensure!(
        init::inside_lab(),
        "the benchmark counts instructions, which only the lab's virtual machine can: run `cargo xtask bench`"
    );
    let mut report = Report::new();
    let lab = Lab::build()?;
    let repeats = options.repeats.get();
    match options.extent {
        Extent::WithPeers | Extent::CtwatchOnly => {}
        Extent::Hooks => return hooks::measure(&lab, &mut report),
        Extent::Flat => return flat::measure(&lab, &mut report, repeats),
        Extent::Blocklist => return blocklist::measure(&lab, &mut report, repeats),
        Extent::Baseline => {
            return baseline::measure(&lab, &mut report, repeats, options.entries.get());
        }
    }
    // Memory that the kernel gives out for the first time costs more than it does ever after.
    lab.connections(None)?;
    let mut rows = available(options.extent, &mut report);
    for repeat in 1..=repeats {
        take_turns(&mut rows, &mut report, repeat, lab.gateway(), "connections", |row, agent| {
            let measured = lab.connections(agent.as_ref())?;
            let output = agent.map(Agent::stop).transpose()?;
            Ok(measured.counted("create", output.and_then(|output| (row.new)(&output))))
        })?;
        let full = RefusedLab::fill(&lab)?;
        take_turns(&mut rows, &mut report, repeat, lab.gateway(), "refusals", |row, agent| {
            let measured = full.refusals(agent.as_ref())?;
            let output = agent.map(Agent::stop).transpose()?;
            Ok(measured.counted("refused", output.and_then(|output| (row.refused)(&output))))
        })?;
        full.empty()?;
    }
    Ok(())
}

/// Measures the same with each row; somebody else's program that does not start here is reported and loses its row.
fn take_turns(
    rows: &mut Vec<&'static Configuration>,
    report: &mut Report,
    repeat: u64,
    gateway: &Namespace,
    what: &str,
    measure: impl Fn(&Configuration, Option<Agent>) -> Result<Measured>,
) -> Result<()> {
    let mut unable = Vec::new();
    for row in rows.iter() {
        report.say(&format!("repeat {repeat}: {what}, {}", row.name));
        match Agent::start(row, gateway) {
            Ok(agent) => report.measured(row.name, repeat, &measure(row, agent)?),
            Err(error) if row.group == Group::Peers => {
                report.skipped(row.name, &format!("{error:#}"));
                unable.push(row.name);
            }
            Err(error) => return Err(error),
        }
    }
    rows.retain(|row| !unable.contains(&row.name));
    Ok(())
}

/// The configurations that this machine has the programs for; the others are reported with the reason.
fn available(extent: Extent, report: &mut Report) -> Vec<&'static Configuration> {
    let wanted = CONFIGURATIONS
        .iter()
        .filter(|configuration| extent == Extent::WithPeers || configuration.group == Group::Ours);
    wanted
        .filter(|configuration| match configuration.why_not() {
            Some(reason) => {
                report.skipped(configuration.name, &reason);
                false
            }
            None => true,
        })
        .collect()
}
