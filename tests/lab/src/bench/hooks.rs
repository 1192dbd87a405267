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
            counted("connections", &agent, report, || lab.connections(Some(&agent)).map(drop))?;
            agent.stop()?;
        }
        let refused_lab = RefusedLab::fill(lab)?;
        if let Some(agent) = Agent::start(configuration, lab.gateway())? {
            counted("refused", &agent, report, || refused_lab.refusals(Some(&agent)).map(drop))?;
            agent.stop()?;
        }
        refused_lab.empty()?;
    }
    Ok(())
}

fn counted(
    workload: &str,
    agent: &Agent,
    report: &mut Report,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    write_sysctl("kernel/bpf_stats_enabled", "1")?;
    let worked = work();
    write_sysctl("kernel/bpf_stats_enabled", "0")?;
    worked?;
    for (name, runs) in programs_of(agent.id())? {
        if runs.count > 0 {
            report.hook(workload, &name, runs.count, runs.instructions);
        }
    }
    Ok(())
}

/// The BPF programs that a process holds, by name.
fn programs_of(process: u32) -> Result<BTreeMap<String, Runs>> {
    let symbols =
        std::fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    let directory = format!("/proc/{process}/fdinfo");
    let entries =
        std::fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))?;
    let mut programs = BTreeMap::new();
    for entry in entries.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if let Some((tag, runs)) = parse_fdinfo(&text) {
            programs.insert(name_of(&symbols, &tag).unwrap_or(tag), runs);
        }
    }
    Ok(programs)
}

/// The tag, and what the program did (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).
fn parse_fdinfo(text: &str) -> Option<(String, Runs)> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let count = field("run_cnt")?.parse().ok()?;
    let instructions = field("run_time_ns")?.parse().ok()?;
    Some((field("prog_tag")?.to_owned(), Runs { count, instructions }))
}

/// The symbol of a compiled program is `bpf_prog_TAG_NAME` (kernel/bpf/core.c, `bpf_prog_ksym_set_name`).
fn name_of(symbols: &str, tag: &str) -> Option<String> {
    let start = format!(" bpf_prog_{tag}_");
    let name = symbols.lines().find_map(|line| line.split_once(&start).map(|(_, name)| name))?;
    name.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_their_tag() {
        let text = "pos:\t0\nprog_type:\t2\nprog_jited:\t1\nprog_tag:\t0011223344556677\nmemlock:\t4096\n\
                    prog_id:\t12\nrun_time_ns:\t900\nrun_cnt:\t3\nrecursion_misses:\t0\n";
        let runs = Runs { count: 3, instructions: 900 };
        assert_eq!(parse_fdinfo(text), Some(("0011223344556677".to_owned(), runs)));
        assert_eq!(parse_fdinfo("pos:\t0\nlink_type:\tperf\nprog_tag:\t00\n"), None);
        let symbols = "ffffffffc0a0 t bpf_prog_0011223344556677_alloc\t[bpf]\n";
        assert_eq!(name_of(symbols, "0011223344556677").as_deref(), Some("alloc"));
        assert_eq!(name_of(symbols, "7766554433221100"), None);
    }
}
