//! Blocklists in the formats of other programs, loaded by those: unpacked, and run as root in the namespaces of a gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ctwatch::blocklist::formats::{self, Format};
use ctwatch::blocklist::{Block, Blocklist};
use ctwatch_lab::{FlowPlan, Gateway, Unpacked, counters, skip};

use crate::observed::{gateway, ip, wait_for_entries};

mod crowdsec;
mod fail2ban;
mod ipset;
mod iptables;

/// A gateway and the programs in its namespace, or none, which is said as a skip.
fn programs() -> Option<(Gateway, Unpacked)> {
    if let Some(reason) = Unpacked::why_not() {
        skip(&reason);
        return None;
    }
    let gateway = gateway()?;
    let unpacked = Unpacked::enter(gateway.gateway()).unwrap();
    Some((gateway, unpacked))
}

fn format(name: &str) -> &'static Format {
    formats::by_name(name).unwrap()
}

/// A list of now.
#[expect(clippy::disallowed_methods, reason = "the programs go by the real clock")]
fn list(blocks: Vec<Block>) -> Blocklist {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let wall_ns = now.as_nanos().try_into().unwrap();
    Blocklist { wall_ns, blocks, ..Blocklist::default() }
}

fn block(network: &str, duration_s: u64, why: &str) -> Block {
    let network = network.parse().or_else(|_| network.parse().map(std::net::IpAddr::into)).unwrap();
    Block { network, duration: Duration::from_secs(duration_s), why: why.to_owned() }
}

/// What no list should have, and a format must not stumble over.
fn odd() -> Blocklist {
    let long = "é".repeat(200);
    list(vec![
        block("10.0.1.66", 600, "holds \"80 %\" of the table\\\n$(reboot) `x` 'y' # z <ip>"),
        block("10.0.1.66", 600, "holds \"80 %\" of the table, once more"),
        block("10.9.0.5/16", 1, ""),
        block("0.0.0.0/0", u64::MAX, &long),
        block("::/0", 3600, "\0\r\n\t"),
        block("::ffff:10.0.1.67", 600, "mapped"),
        block("2001:db8::/64", 600, "a network of 2^64 addresses"),
    ])
}

/// A list of so many addresses.
fn many(count: u32) -> Blocklist {
    let address =
        |number: u32| std::net::Ipv4Addr::from(u32::from_be_bytes([10, 16, 0, 0]) + number);
    let blocks = (0..count)
        .map(|number| block(&address(number).to_string(), 3600, "holds 80 % of the table"));
    list(blocks.collect())
}

/// The addresses that are blocked where traffic is sent.
const BLOCKED: [&str; 2] = ["10.0.1.66", "fd00:10::66"];

/// A list that blocks them.
fn blocked() -> Blocklist {
    list(BLOCKED.map(|source| block(source, 600, "holds 80 % of the table")).to_vec())
}

/// Sends from those that are blocked and from others: only what the others send gets into the table.
#[track_caller]
fn assert_only_others_open_entries(gateway: &Gateway) {
    counters::flush(gateway.gateway()).unwrap();
    for source in BLOCKED {
        FlowPlan::udp(ip(source), 5).send(gateway.client()).unwrap();
    }
    for source in ["10.0.1.2", "fd00:10::2"] {
        FlowPlan::udp(ip(source), 3).send(gateway.client()).unwrap();
    }
    wait_for_entries(gateway, 6);
    for source in BLOCKED {
        assert_eq!(counters::listed(gateway.gateway(), ip(source)).unwrap(), 0, "{source}");
    }
}
