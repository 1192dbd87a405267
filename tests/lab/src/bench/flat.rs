//! Whether a connection costs the same however many sources there are: the same traffic from ten to a million sources, with
//! and without ctwatch. It must not compare: the host does.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};

use super::agent::Agent;
use super::configuration::{Configuration, Group};
use super::report::Report;
use super::workload::{Lab, Measured, of};
use crate::counters;
use crate::flow::FlowPlan;
use crate::packet;
use crate::program;

/// How many connections are opened for one measurement.
const FLOWS: u64 = 50_000;
/// The connections of known sources come in so many parts, evenly spread over all sources: where rows run out the first
/// sources have one and the last have none.
const PARTS: u64 = 50;
/// Opening them takes less, whoever watches, and so does ending them.
const WINDOW: Duration = Duration::from_secs(10);
/// The first source; all of them are the client's own (see [`crate::address::CLIENTS_V4`]).
const FIRST_SOURCE: &str = "10.16.0.0";

/// So many sources, and the names of what is measured with them.
struct Sources {
    count: NonZeroU64,
    /// Every source has a connection for the first time; not where there are fewer sources than connections.
    first_seen: Option<&'static str>,
    /// Every source has had one before.
    known: &'static str,
    /// What is done anyway, in [`WINDOW`].
    idle: &'static str,
    /// Whether more rows than the usual ones make a difference.
    beyond_usual_rows: bool,
}

const fn number(count: u64) -> NonZeroU64 {
    match NonZeroU64::new(count) {
        Some(count) => count,
        None => NonZeroU64::MIN,
    }
}

const SOURCES: [Sources; 4] = [
    Sources {
        count: number(10),
        first_seen: None,
        known: "known_10",
        idle: "idle_10",
        beyond_usual_rows: false,
    },
    Sources {
        count: number(1_000),
        first_seen: None,
        known: "known_1000",
        idle: "idle_1000",
        beyond_usual_rows: false,
    },
    Sources {
        count: number(100_000),
        first_seen: Some("first_100000"),
        known: "known_100000",
        idle: "idle_100000",
        beyond_usual_rows: false,
    },
    Sources {
        count: number(1_000_000),
        first_seen: Some("first_1000000"),
        known: "known_1000000",
        idle: "idle_1000000",
        beyond_usual_rows: true,
    },
];

/// The rows; the long interval keeps the reading of many rows out of the way, and it is measured by itself.
const CONFIGURATIONS: [Configuration; 5] = [
    row("none", &[]),
    row(
        "ctwatch_fexit",
        &[
            "/bin/ctwatch",
            "watch",
            "--json",
            "--interval",
            "10s",
            "--netns",
            "{netns}",
            "--attach",
            "fexit",
        ],
    ),
    row(
        "ctwatch_kprobe",
        &[
            "/bin/ctwatch",
            "watch",
            "--json",
            "--interval",
            "10s",
            "--netns",
            "{netns}",
            "--attach",
            "kprobe",
        ],
    ),
    row(
        "ctwatch_fexit_wide",
        &[
            "/bin/ctwatch",
            "watch",
            "--json",
            "--interval",
            "10s",
            "--netns",
            "{netns}",
            "--attach",
            "fexit",
            "--max-sources",
            "1048576",
        ],
    ),
    row(
        "ctwatch_kprobe_wide",
        &[
            "/bin/ctwatch",
            "watch",
            "--json",
            "--interval",
            "10s",
            "--netns",
            "{netns}",
            "--attach",
            "kprobe",
            "--max-sources",
            "1048576",
        ],
    ),
];

const fn row(name: &'static str, command: &'static [&'static str]) -> Configuration {
    let ready = if command.is_empty() { None } else { Some(("\"schema\"", 2)) };
    Configuration { name, group: Group::Ours, command, ready, new: |_| None, refused: |_| None }
}

/// Measures each configuration with each number of sources, in turns.
///
/// # Errors
/// When the traffic is not exactly what it should be, or ctwatch cannot be started.
pub(super) fn measure(lab: &Lab, report: &mut Report, repeats: u64) -> Result<()> {
    lab.gateway().within(|| program::run("nft", &["-f", "-"], DROP_SPOOFED).map(|_output| ()))?;
    lab.connections(None)?;
    for repeat in 1..=repeats {
        for sources in &SOURCES {
            for row in &CONFIGURATIONS {
                if row.name.ends_with("_wide") && !sources.beyond_usual_rows {
                    continue;
                }
                report.say(&format!("repeat {repeat}: {} sources, {}", sources.count, row.name));
                let agent = Agent::start(row, lab.gateway())?;
                let measured = with_sources(lab, sources, agent.as_ref())
                    .with_context(|| format!("{} sources, {}", sources.count, row.name))?;
                report.measured(row.name, repeat, &measured);
                if let Some(agent) = agent {
                    agent.end()?;
                }
            }
        }
    }
    Ok(())
}

fn with_sources(lab: &Lab, sources: &Sources, agent: Option<&Agent>) -> Result<Measured> {
    let first: IpAddr = FIRST_SOURCE.parse().context("no address")?;
    let count = sources.count.get();
    let plan = FlowPlan::udp(first, count).from_sources(sources.count);
    let mut measured = Vec::new();
    // The last of the sources are seen for the first time below.
    let known = if sources.first_seen.is_some() { count - FLOWS } else { count };
    if agent.is_some() {
        lab.gateway().within(|| make_known(&plan.clone().take(known)))?;
    }
    let everything = |lab: &Lab, parts: &[FlowPlan]| {
        for part in parts {
            lab.send(part)?;
        }
        lab.wait_for_entries(FLOWS)?;
        counters::flush(lab.gateway())?;
        lab.wait_for_entries(0)
    };
    if let Some(name) = sources.first_seen {
        let parts = [plan.clone().starting_at(known).take(FLOWS)];
        measured.push(of(name, FLOWS, WINDOW, agent, || everything(lab, &parts))?);
    }
    let part = |number: u64| FlowPlan {
        first: if count < FLOWS { number * (FLOWS / PARTS) } else { number * (count / PARTS) },
        count: FLOWS / PARTS,
        ..plan.clone()
    };
    let parts: Vec<FlowPlan> = (0..PARTS).map(part).collect();
    measured.push(of(sources.known, FLOWS, WINDOW, agent, || everything(lab, &parts))?);
    measured.push(of(sources.idle, WINDOW.as_secs(), WINDOW, agent, || Ok(()))?);
    Ok(Measured(measured))
}

/// Drops what [`make_known`] sends, after conntrack has made an entry for it.
const DROP_SPOOFED: &str = "\
table inet known {
  chain output {
    type filter hook output priority 0
    ip saddr 10.0.0.0/9 drop
  }
}
";

/// Makes an entry for each flow that is gone at once: as if from the sources, but sent by the gateway itself, which takes a
/// fifth of what the way through it does.
fn make_known(plan: &FlowPlan) -> Result<()> {
    let socket =
        socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
            .context("cannot open a raw socket")?;
    for flow in plan.flows() {
        let packet = packet::opening(&flow).context("no packet")?;
        match sendto(&socket, &packet, SendFlags::empty(), &SocketAddr::new(flow.destination, 0)) {
            // A packet that a rule drops is answered so (net/netfilter/core.c, `nf_hook_slow`).
            Err(Errno::PERM) => {}
            Ok(_bytes) => bail!("a packet that was to be dropped was sent"),
            Err(error) => return Err(error).context("cannot send a packet"),
        }
    }
    Ok(())
}
