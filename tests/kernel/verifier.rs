//! What the kernel's verifier has to go through for each program: with one line too many in a hook it may be ten times as
//! much on some kernel, and past a million instructions the program is refused. It must not judge what a hook costs to run.

use std::collections::BTreeMap;

use ctwatch_lab::{Ctwatch, FlowPlan, Gateway, skip, wait};

use crate::insert_failures::masquerade_to_ten_ports;
use crate::observed::{gateway, ip, rungs, start_degraded, stop, watch_on};

/// Lines of a kernel's series, a program and the instructions that its verifier may process; rewritten from a run by
/// `CTWATCH_UPDATE_BUDGET=1 cargo xtask lab test verifier`.
const BUDGET: &str = include_str!("verifier_budget.txt");

/// A program may take so much more than its budget, in percent.
const GROWTH_PERCENT: u32 = 20;

/// What xtask looks for in the console.
const MEASURED: &str = "verifier-budget:";

#[test]
fn verifier_instructions_stay_within_the_budget() {
    let Some(gateway) = gateway() else { return };
    masquerade_to_ten_ports(&gateway);
    let mut measured = BTreeMap::new();
    for rung in rungs() {
        let (mut watch, _) = watch_on(&rung, &gateway, &[]);
        load_what_is_loaded_on_demand(&gateway, &mut watch);
        measured.extend(programs());
        stop(watch).unwrap();
    }
    let mut degraded = start_degraded(&gateway);
    degraded.next(wait::PATIENCE).unwrap();
    measured.extend(programs());
    stop(degraded).unwrap();
    if measured.is_empty() {
        // bpf_prog_info.verified_insns came with Linux 5.16.
        return skip("this kernel does not say how many instructions its verifier processed");
    }

    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let series = release.split('.').take(2).collect::<Vec<_>>().join(".");
    for (program, instructions) in &measured {
        println!("{MEASURED} {series} {program} {instructions}");
    }
    let budget = budget(&series);
    let names = |programs: &BTreeMap<String, u32>| programs.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&measured), names(&budget), "the programs of {series} in verifier_budget.txt");
    for (program, instructions) in &measured {
        let most = budget[program] * (100 + GROWTH_PERCENT) / 100;
        assert!(
            *instructions <= most,
            "{program} takes {instructions} instructions of the verifier on {series}, its budget is {}",
            budget[program]
        );
    }
}

/// The hooks on insertions are attached after the first that fails.
fn load_what_is_loaded_on_demand(gateway: &Gateway, watch: &mut Ctwatch) {
    ctwatch_lab::counters::flush(gateway.gateway()).unwrap();
    FlowPlan::tcp_syn(ip("10.0.1.2"), 20).send(gateway.client()).unwrap();
    watch
        .find(wait::PATIENCE, "the hook on insertions", |line| {
            Ok((line.json["mode"]["confirm"] == "kprobe").then_some(()))
        })
        .unwrap();
}

/// The programs that are loaded now, by the first fifteen letters of their names; only ctwatch loads any here. The kernel's
/// own have no name, or were not verified.
fn programs() -> BTreeMap<String, u32> {
    aya::programs::loaded_programs()
        .flatten()
        .filter_map(|program| {
            let name = program.name_as_str()?.to_owned();
            Some((name, program.verified_instruction_count()?))
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

fn budget(series: &str) -> BTreeMap<String, u32> {
    let budget = BUDGET.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        let of_series = words.next() == Some(series);
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?)).filter(|_| of_series)
    });
    budget.collect()
}
