//! ctwatch's own tasks: run, test, lab, bench, bpf, dist, deny.

mod apt_sources;
mod bench;
mod bpf;
mod bpf_source;
mod budget;
mod cargo;
mod deny;
mod dist;
mod lab;
mod libtest;
mod outcome;
mod packages;
mod process;
mod run;
mod test;
mod toolchain;
mod unpacked;
mod vm;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::lab::Scale;
use crate::outcome::Outcome;
use crate::run::NoPrivilege;
use crate::test::Extent;
use crate::toolchain::Choice;
use crate::workspace::Workspace;

/// ctwatch's own exit status for a missing privilege.
const CANNOT_RUN_HERE: u8 = 77;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "ctwatch's own tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build ctwatch and run it as root, `watch` unless a subcommand is named
    Run {
        /// What to pass to ctwatch, after `--`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Show ctwatch at work on a flooded gateway in a virtual machine, or test it there
    Lab {
        #[command(subcommand)]
        task: Option<LabTask>,
        /// The kernel to show it on, for instance 6.12
        #[arg(long)]
        kernel: Option<String>,
        /// What to pass to ctwatch, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run all layers of tests
    Test {
        /// Every scenario on every kernel, for as long as each needs: hours
        #[arg(long)]
        all: bool,
    },
    /// Measure what watching a gateway costs, and print it as a Markdown table
    Bench {
        /// Two repeats, and ctwatch alone
        #[arg(long, group = "extent")]
        quick: bool,
        /// What each hook of ctwatch's takes by itself, instead
        #[arg(long, group = "extent")]
        hooks: bool,
        /// Whether it costs the same from ten sources to a million, instead
        #[arg(long, group = "extent")]
        flat: bool,
        /// Reading a table of a million entries beside `conntrack -L`, instead
        #[arg(long, group = "extent")]
        baseline: bool,
        /// Keeping 50 000 sources out beside a rule for each, instead
        #[arg(long, group = "extent")]
        blocklist: bool,
        /// How long `ctwatch top` takes to answer a key under a flood on this machine, in time, instead
        #[arg(long, group = "extent", conflicts_with_all = ["kernel", "object"])]
        keys: bool,
        /// The kernel to measure on, for instance 6.12
        #[arg(long)]
        kernel: Option<String>,
        /// A BPF object to measure instead of the committed one
        #[arg(long)]
        object: Option<PathBuf>,
    },
    /// Build one static program, target/dist/ctwatch
    Dist,
    /// Check licences, bans and sources of all dependencies, offline
    Deny,
    /// Build the kernel side and commit it to ctwatch/bpf
    Bpf {
        /// Rebuild under target/ and fail unless the committed object is identical
        #[arg(long)]
        check: bool,
        /// The compiler to use
        #[arg(long, value_enum, default_value_t = Choice::Auto)]
        toolchain: Choice,
    },
}

#[derive(Subcommand)]
enum LabTask {
    /// Run the scenarios
    Test {
        /// The kernels to run them on, for instance 6.1 6.12
        #[arg(long, num_args = 1..)]
        kernel: Vec<String>,
        /// Let scenarios take as long as they need: ten million connections, a million sources
        #[arg(long)]
        long: bool,
        /// Run only scenarios whose names contain one of these
        filters: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Workspace::locate().and_then(|workspace| perform(&workspace, Cli::parse().task)) {
        Ok(code) => code,
        Err(error) => {
            process::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(workspace: &Workspace, task: Task) -> Result<ExitCode> {
    match task {
        Task::Run { arguments } => match run::command(workspace, &arguments)? {
            Ok(command) => match run::become_it(command)? {},
            Err(NoPrivilege(reason)) => {
                process::say(format!("{reason:#}"));
                Ok(ExitCode::from(CANNOT_RUN_HERE))
            }
        },
        Task::Lab { task: None, kernel, arguments } => {
            lab::show(workspace, kernel.as_deref(), &arguments).map(|()| ExitCode::SUCCESS)
        }
        Task::Lab { task: Some(LabTask::Test { kernel, long, filters }), .. } => {
            // `--kernel 6.1 6.12 exactness`: what does not begin like a version is a filter.
            let (kernel, more): (Vec<String>, Vec<String>) =
                kernel.into_iter().partition(|word| vm::kernel::is_series(word));
            let filters = [more, filters].concat();
            let first = vm::kernel::usual_series().first().map(|series| (*series).to_owned());
            let series = if kernel.is_empty() { first.into_iter().collect() } else { kernel };
            let scale = if long { Scale::Long } else { Scale::Usual };
            Ok(report(&lab::test(workspace, &series, &filters, scale)?))
        }
        Task::Test { all } => {
            let extent = if all { Extent::All } else { Extent::Usual };
            Ok(report(&test::run(workspace, extent)?))
        }
        Task::Deny => deny::check(workspace).map(|()| ExitCode::SUCCESS),
        Task::Bench { keys: true, .. } => bench::keys::run(workspace).map(|()| ExitCode::SUCCESS),
        Task::Bench { quick, hooks, flat, baseline, blocklist, keys: false, kernel, object } => {
            let chosen = [
                (quick, bench::Extent::Quick),
                (hooks, bench::Extent::Hooks),
                (flat, bench::Extent::Flat),
                (baseline, bench::Extent::Baseline),
                (blocklist, bench::Extent::Blocklist),
            ];
            let extent = chosen
                .into_iter()
                .find_map(|(chosen, extent)| chosen.then_some(extent))
                .unwrap_or(bench::Extent::Usual);
            bench::run(workspace, extent, kernel.as_deref(), object).map(|()| ExitCode::SUCCESS)
        }
        Task::Dist => {
            process::print(dist::build(workspace)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Task::Bpf { check: true, toolchain } => Ok(report(&bpf::check(workspace, toolchain)?)),
        Task::Bpf { check: false, toolchain } => {
            bpf::build(workspace, toolchain).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Prints why checks failed or could not run, and the sum alone on the last line.
fn report(outcome: &Outcome) -> ExitCode {
    for reason in outcome.reasons() {
        process::print(reason);
    }
    process::print(outcome);
    if outcome.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
