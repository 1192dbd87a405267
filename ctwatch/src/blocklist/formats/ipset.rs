//! A script for `ipset restore`: two sets that grow with each list, and whose members leave by themselves.
//!
//! A `hash:net` takes addresses and networks alike. It is asked once for each prefix length that is in it, so a further set for
//! addresses alone would save nothing (`mtype_test_cidrs`, net/netfilter/ipset/ip_set_hash_gen.h).

use std::time::Duration;

use ipnet::IpNet;

use super::line::Line;
use super::{DropIn, Entry, Format, ParseError, moment};
use crate::blocklist::{Block, Blocklist, note, ruleset};

/// Its row.
pub(super) const FORMAT: Format = Format {
    name: "ipset",
    what: "for 'ipset restore': the sets ctwatch4 and ctwatch6, with timeouts",
    render,
    parse,
    kept: |_, block| Some(kept(block)),
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

/// A longer timeout would not fit in a timer (`IPSET_MAX_TIMEOUT`, include/linux/netfilter/ipset/ip_set_timeout.h).
const TIMEOUT_S_MAX: u64 = 2_147_483;
/// The most bytes of a comment (`IPSET_MAX_COMMENT_SIZE`, include/uapi/linux/netfilter/ipset/ip_set.h).
const COMMENT_BYTES_MAX: usize = 255;

/// The rules that use the sets, as the operator adds them once: a set by itself drops nothing.
const USE: &str = "\
# Load it: ipset restore -file FILE. The next list adds to it, and everybody leaves when his time is over.
# Once, to drop in front of conntrack:
#   iptables -t raw -C PREROUTING -m set --match-set ctwatch4 src -j DROP || iptables -t raw -I PREROUTING -m set --match-set ctwatch4 src -j DROP
#   ip6tables -t raw -C PREROUTING -m set --match-set ctwatch6 src -j DROP || ip6tables -t raw -I PREROUTING -m set --match-set ctwatch6 src -j DROP
";

fn render(list: &Blocklist) -> String {
    let mut text = format!("# ctwatch blocklist of {}\n{USE}", moment::made(list));
    for (set, family) in [("ctwatch4", "inet"), ("ctwatch6", "inet6")] {
        // One that is there is left as it is, if it was made with the same words.
        let size = ruleset::ELEMENTS_MAX;
        text += &format!(
            "create {set} hash:net family {family} maxelem {size} timeout 600 comment -exist\n"
        );
    }
    for block in &list.blocks {
        // No set takes a network of length 0, but both halves of it.
        let halves = block.network.subnets(block.network.prefix_len().max(1));
        for network in halves.into_iter().flatten() {
            text += &member(&network, block);
        }
    }
    text
}

/// The line that adds a member, or gives one that is there a new timeout.
fn member(network: &IpNet, block: &Block) -> String {
    let set = if network.addr().is_ipv4() { "ctwatch4" } else { "ctwatch6" };
    let element = ruleset::element(network);
    // With 0 it would stay for ever.
    let timeout_s = block.duration.as_secs().clamp(1, TIMEOUT_S_MAX);
    let why = note::quoted_line(&block.why, COMMENT_BYTES_MAX);
    // It takes no empty one.
    let comment = if why.is_empty() { String::new() } else { format!("comment \"{why}\" ") };
    format!("add {set} {element} timeout {timeout_s} {comment}-exist\n")
}

fn kept(block: &Block) -> Entry {
    Entry {
        network: block.network,
        duration: Some(Duration::from_secs(block.duration.as_secs().min(TIMEOUT_S_MAX))),
        why: Some(note::quoted_line(&block.why, COMMENT_BYTES_MAX)),
    }
}

fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut entries = Vec::new();
    for mut line in Line::all(text) {
        if line.has("create") {
            continue;
        }
        line.expect("add")?;
        line.word()?;
        let network = line.network()?;
        line.expect("timeout")?;
        let duration = line.seconds()?;
        let why = if line.has("comment") { line.quoted()? } else { "" };
        line.expect("-exist")?;
        entries.push(Entry { network, duration: Some(duration), why: Some(why.to_owned()) });
    }
    Ok(entries)
}
