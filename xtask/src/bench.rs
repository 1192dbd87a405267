//! `cargo xtask bench`: what watching a gateway costs, in instructions of a virtual machine; the measuring itself is the lab's.

mod baseline;
mod blocklist;
mod flat;
pub(crate) mod keys;
mod measurement;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use self::measurement::Results;
use crate::lab::{self, Lab};
use crate::process;
use crate::vm::programs;
use crate::workspace::Workspace;

/// Every instruction is emulated and counted: with all peers and repeats that takes a good quarter of an hour.
const DEADLINE: Duration = Duration::from_secs(90 * 60);
/// Before what the lab prints of its progress.
const DOING: &str = "ctwatch-bench: doing ";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// ctwatch and its peers, five times.
    Usual,
    /// ctwatch alone, twice.
    Quick,
    /// Each hook of ctwatch's by itself.
    Hooks,
    /// Whether it costs the same with a million sources.
    Flat,
    /// Reading a table of a million entries once.
    Baseline,
    /// Keeping many sources out.
    Blocklist,
}

/// Boots the machine, measures, and prints tables.
///
/// Its clock goes by instructions, so that neither this machine nor what else runs on it makes a difference.
pub(crate) fn run(
    workspace: &Workspace,
    extent: Extent,
    series: Option<&str>,
    object: Option<PathBuf>,
) -> Result<()> {
    let start = Instant::now();
    let kernel = lab::fetch_first(workspace, series)?;
    let mut left_out = Vec::new();
    let peers = match extent {
        Extent::Quick | Extent::Hooks | Extent::Flat | Extent::Baseline | Extent::Blocklist => None,
        Extent::Usual => programs::fetch_peers(workspace)
            .map_err(|error| {
                process::say(format!("left out: {error:#}"));
                left_out.push(format!("{error:#}"));
            })
            .ok(),
    };
    let lab = Lab::for_bench(workspace, object, peers)?;
    process::say(format!("measuring on {}", kernel.release));
    let arguments: &[&str] = match extent {
        Extent::Usual => &["--repeats", "5", "--extent", "with-peers"],
        Extent::Quick => &["--repeats", "2", "--extent", "ctwatch-only"],
        Extent::Hooks => &["--extent", "hooks"],
        Extent::Flat => &["--repeats", "2", "--extent", "flat"],
        Extent::Baseline => &["--repeats", "3", "--extent", "baseline"],
        Extent::Blocklist => &["--repeats", "2", "--extent", "blocklist"],
    };
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let console = lab.bench(&kernel, &arguments, DEADLINE, show)?;
    let mut results = Results::parse(&console)?;
    results.left_out.extend(left_out);
    process::print(match extent {
        Extent::Usual | Extent::Quick | Extent::Hooks => table::markdown(&results, &kernel.release),
        Extent::Flat => flat::markdown(&results, &kernel.release),
        Extent::Baseline => baseline::markdown(&results, &kernel.release),
        Extent::Blocklist => blocklist::markdown(&results, &kernel.release),
    });
    process::say(format!("measuring took {} s", start.elapsed().as_secs()));
    Ok(())
}

fn show(line: &str) {
    if let Some((_, doing)) = line.split_once(DOING) {
        process::say(doing);
    }
}
