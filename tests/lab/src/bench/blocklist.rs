//! What keeping many sources out takes: to load the list, for each packet of others, and for each packet that is dropped, with
//! ctwatch's sets and with a rule for each source; and what it takes to end the entries of one. It must not compare: the host
//! does.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::meter::Instructions;
use super::report::Report;
use super::workload::{Lab, Measured, Measurement, of};
use crate::address;
use crate::counters::{self, GlobalSetting};
use crate::flow::FlowPlan;

/// How many sources are kept out.
const SOURCES: NonZeroU64 = NonZeroU64::MIN.saturating_add(49_999);
/// Without a common factor with [`SOURCES`]: the list has them in another order than their addresses, so that packets from
/// neighbours find theirs all over a list of rules.
const STRIDE: u64 = 7_919;
const FIRST_V4: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 0);
const FIRST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0);
const INNOCENT_V4: &str = "10.0.1.2";
const INNOCENT_V6: &str = "fd00:10:0:ffff::2";
/// How many packets are sent, each of a connection of its own.
const PACKETS: u64 = 5_000;
/// The same where each passes all rules.
const PACKETS_THROUGH_RULES: u64 = 500;
/// Sending them takes less, whatever they pass.
const WINDOW: Duration = Duration::from_secs(10);
/// Where the list is.
const LIST: &str = "/tmp/list";
/// Who has entries that end, and as many that stay.
const ABUSER: &str = "10.0.1.66";
const ENTRIES: u64 = 20_000;
/// Room for them, and for a table as a gateway has it.
const LIMIT: u64 = 262_144;

const BLOCK: &[&str] = &[
    "/bin/ctwatch",
    "block",
    "--file",
    LIST,
    "--for",
    "1h",
    "--now",
    "--keep-entries",
    "--netns",
    "gw",
];
const UNBLOCK: &[&str] = &["/bin/ctwatch", "unblock", "--all", "--netns", "gw"];

/// A way to keep sources out.
struct Way {
    name: &'static str,
    family: Family,
    /// Writes the list.
    list: fn() -> String,
    /// Loads it, and takes it back; nothing where nobody is kept out.
    commands: Option<[&'static [&'static str]; 2]>,
    packets: u64,
}

/// The addresses of a way, and the names of what is measured.
struct Family {
    innocent: &'static str,
    blocked: fn(u64) -> FlowPlan,
    names: [&'static str; 3],
}

const V4: Family = Family {
    innocent: INNOCENT_V4,
    blocked: |packets| FlowPlan::udp(FIRST_V4.into(), packets).from_sources(SOURCES),
    names: ["load_v4", "innocent_v4", "blocked_v4"],
};
const V6: Family = Family {
    innocent: INNOCENT_V6,
    // All from one network, halfway.
    blocked: |packets| FlowPlan::udp(network_v6(SOURCES.get() / 2), packets),
    names: ["load_v6", "innocent_v6", "blocked_v6"],
};

const WAYS: [Way; 5] = [
    Way { name: "none", family: V4, list: String::new, commands: None, packets: PACKETS },
    Way {
        name: "sets",
        family: V4,
        list: addresses,
        commands: Some([BLOCK, UNBLOCK]),
        packets: PACKETS,
    },
    Way {
        name: "rules",
        family: V4,
        list: rules,
        commands: Some([&["nft", "-f", LIST], &["nft", "delete", "table", "inet", "rules"]]),
        packets: PACKETS_THROUGH_RULES,
    },
    Way { name: "none", family: V6, list: String::new, commands: None, packets: PACKETS },
    Way {
        name: "sets",
        family: V6,
        list: networks,
        commands: Some([BLOCK, UNBLOCK]),
        packets: PACKETS,
    },
];

/// Blocks alone, and ends none.
const KEEPS: &str = "block_keep";
/// How the entries of one source end.
const ENDS: [(&str, &[&str]); 3] = [
    (KEEPS, &["/bin/ctwatch", "block", ABUSER, "--now", "--keep-entries", "--netns", "gw"]),
    ("block", &["/bin/ctwatch", "block", ABUSER, "--now", "--netns", "gw"]),
    ("conntrack_delete", &["conntrack", "-D", "-s", ABUSER]),
];

/// Measures each way.
///
/// # Errors
/// When a list cannot be loaded, or a packet does not do what it should.
pub(super) fn measure(lab: &Lab, report: &mut Report, repeats: u64) -> Result<()> {
    let _room = GlobalSetting::limit(LIMIT)?;
    for repeat in 1..=repeats {
        for way in &WAYS {
            report.say(&format!("repeat {repeat}: {}, {}", way.family.names[0], way.name));
            report.measured(way.name, repeat, &kept_out(lab, way)?);
        }
        for (name, command) in ENDS {
            report.say(&format!("repeat {repeat}: end_source, {name}"));
            report.measured(name, repeat, &Measured(vec![ended(lab, name, command)?]));
        }
        counters::flush(lab.gateway())?;
    }
    Ok(())
}

fn kept_out(lab: &Lab, way: &Way) -> Result<Measured> {
    let Way {
        family: Family { innocent, blocked, names: [load, innocent_name, blocked_name] },
        ..
    } = way;
    fs::write(LIST, (way.list)()).with_context(|| format!("cannot write {LIST}"))?;
    let mut measurements = Vec::new();
    if let Some([command, _]) = way.commands {
        measurements.push(of_program(load, SOURCES.get(), lab.instructions_of(command)?));
    }
    let innocent = FlowPlan::udp(innocent.parse().context("no address")?, way.packets);
    measurements.push(packets(lab, innocent_name, &innocent, way.packets)?);
    let passing = if way.commands.is_none() { way.packets } else { 0 };
    measurements.push(packets(lab, blocked_name, &blocked(way.packets), passing)?);
    if let Some([_, command]) = way.commands {
        lab.instructions_of(command)?;
    }
    Ok(Measured(measurements))
}

/// Packets, each of which opens a connection if it may.
fn packets(
    lab: &Lab,
    workload: &'static str,
    plan: &FlowPlan,
    passing: u64,
) -> Result<Measurement> {
    lab.wait_for_entries(0)?;
    let measurement = of(workload, plan.count, WINDOW, None, || {
        lab.send(plan)?;
        lab.wait_for_entries(passing)
    })?;
    let entries = counters::entries(lab.gateway())?;
    ensure!(entries == passing, "{entries} packets passed instead of {passing}");
    counters::flush(lab.gateway())?;
    Ok(measurement)
}

/// Entries of others stay from one to the next, and those of the source where they were kept.
fn ended(lab: &Lab, name: &str, command: &[&str]) -> Result<Measurement> {
    let mut held = counters::entries(lab.gateway())?;
    for source in [INNOCENT_V4, ABUSER] {
        if held < 2 * ENTRIES && (source == ABUSER || held == 0) {
            lab.send(&FlowPlan::udp(source.parse().context("no address")?, ENTRIES))?;
            held += ENTRIES;
        }
    }
    lab.wait_for_entries(2 * ENTRIES)?;
    let instructions = lab.instructions_of(command)?;
    lab.wait_for_entries(if name == KEEPS { 2 * ENTRIES } else { ENTRIES })?;
    if command.contains(&"block") {
        lab.instructions_of(UNBLOCK)?;
    }
    Ok(of_program("end_source", ENTRIES, instructions))
}

fn of_program(workload: &'static str, units: u64, instructions: u64) -> Measurement {
    Measurement {
        workload,
        units,
        window: Duration::ZERO,
        instructions: Instructions { all: instructions, process: instructions, workers: 0 },
        counted: None,
    }
}

fn shuffled() -> impl Iterator<Item = u64> {
    (0..SOURCES.get()).map(|place| place * STRIDE % SOURCES)
}

fn network_v6(number: u64) -> IpAddr {
    Ipv6Addr::from_bits(FIRST_V6.to_bits() + (u128::from(number) << 64)).into()
}

fn addresses() -> String {
    shuffled().map(|number| format!("{}\n", address::after(FIRST_V4.into(), number))).collect()
}

fn networks() -> String {
    shuffled().map(|number| format!("{}/64\n", network_v6(number))).collect()
}

/// In the same place as ctwatch's chain.
fn rules() -> String {
    let rule = |number| {
        format!(
            "add rule inet rules block ip saddr {} drop\n",
            address::after(FIRST_V4.into(), number)
        )
    };
    let chain = "add table inet rules\n\
                 add chain inet rules block { type filter hook prerouting priority -310; policy accept; }\n";
    chain.to_owned() + &shuffled().map(rule).collect::<String>()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_source_is_listed_once() {
        let lines: Vec<String> = addresses().lines().map(str::to_owned).collect();
        let sources: HashSet<&String> = lines.iter().collect();
        assert_eq!((lines.len() as u64, sources.len() as u64), (SOURCES.get(), SOURCES.get()));
        assert!(sources.contains(&"10.16.195.79".to_owned()));
        let networks: HashSet<String> = networks().lines().map(str::to_owned).collect();
        assert_eq!(networks.len() as u64, SOURCES.get());
        assert!(
            networks.contains("fd00:10:0:61a8::/64") && !networks.contains("fd00:10:0:ffff::/64")
        );
        assert_eq!(rules().lines().count() as u64, SOURCES.get() + 2);
    }
}
