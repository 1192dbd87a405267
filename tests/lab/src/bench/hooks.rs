//! What each hook of ctwatch's takes by itself, as the kernel counts it while `kernel.bpf_stats_enabled` is set. It must
//! not be compared with the other results: counting adds to what is counted.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::agent::Agent;
use super::configuration::CONFIGURATIONS;
use super::report::Report;
use super::workload::{Lab, RefusedLab};
use crate::namespace::write_sysctl;

/// What one program did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Runs {
    count: u64,
    instructions: u64,
}

/// Measures the hooks of every row that has some.
///
/// # Errors
/// When the kernel does not count.
pub(super) fn measure(lab: &Lab, report: &mut Report) -> Result<()> {
    lab.connections(None)?;
    for configuration in CONFIGURATIONS
        .iter()
        .filter(|row| row.command.contains(&"kprobe") || row.command.contains(&"fexit"))
    {
        report.say(&format!("hooks of {}", configuration.name));
        if let Some(agent) = Agent::start(configuration, lab.gateway())? {
            counted("connections", report, || lab.connections(Some(&agent)).map(drop))?;
            agent.stop()?;
        }
        let refused_lab = RefusedLab::fill(lab)?;
        if let Some(agent) = Agent::start(configuration, lab.gateway())? {
            counted("refused", report, || refused_lab.refusals(Some(&agent)).map(drop))?;
            agent.stop()?;
        }
        refused_lab.empty()?;
    }
    Ok(())
}

fn counted(workload: &str, report: &mut Report, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = runs()?;
    write_sysctl("kernel/bpf_stats_enabled", "1")?;
    let worked = work();
    write_sysctl("kernel/bpf_stats_enabled", "0")?;
    worked?;
    for (name, after) in runs()? {
        let earlier = before.get(&name).copied().unwrap_or_default();
        if after.count > earlier.count {
            let instructions = after.instructions.saturating_sub(earlier.instructions);
            report.hook(workload, &name, after.count - earlier.count, instructions);
        }
    }
    Ok(())
}

/// What each loaded BPF program did so far, by name: nobody but ctwatch loads any while this measures.
fn runs() -> Result<BTreeMap<String, Runs>> {
    let mut programs: BTreeMap<String, Runs> = BTreeMap::new();
    for program in aya::programs::loaded_programs() {
        let program = program.context("cannot list the BPF programs")?;
        let name = program.name_as_str().context("a BPF program has no name")?;
        let runs = programs.entry(name.to_owned()).or_default();
        runs.count += program.run_count();
        // The clock advances one nanosecond an instruction.
        runs.instructions += u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
    }
    Ok(programs)
}
