//! Rules for `iptables-restore` and `ip6tables-restore`, in a chain of their own that comes before conntrack. A rule has no
//! timeout, but it can say until when it holds (net/netfilter/xt_time.c), so that everybody is let in again even if nobody thinks
//! of it.

use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;

use super::line::Line;
use super::{DropIn, Entry, Format, ParseError, moment};
use crate::blocklist::{Block, Blocklist, note, ruleset};

/// The row for IPv4.
pub(super) const IPV4: Format = Format {
    name: "iptables",
    what: "for 'iptables-restore --noflush': the IPv4 sources of the list, each until its end",
    render: |list| render(list, "iptables", "IPv4", |network| network.addr().is_ipv4()),
    parse,
    kept: |list, block| block.network.addr().is_ipv4().then(|| kept(list, block)),
    files: NO_FILES,
};
/// The row for IPv6.
pub(super) const IPV6: Format = Format {
    name: "ip6tables",
    what: "for 'ip6tables-restore --noflush': the IPv6 sources of the list, each until its end",
    render: |list| render(list, "ip6tables", "IPv6", |network| network.addr().is_ipv6()),
    parse,
    kept: |list, block| block.network.addr().is_ipv6().then(|| kept(list, block)),
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

/// The most bytes of a comment (`XT_MAX_COMMENT_LEN`, include/uapi/linux/netfilter/xt_comment.h: 256, its final zero included).
const COMMENT_BYTES_MAX: usize = 255;
/// What the line begins with that says when the list was made.
const MADE: &str = "# ctwatch blocklist of ";

fn render(
    list: &Blocklist,
    program: &str,
    family: &str,
    is_of_family: fn(&IpNet) -> bool,
) -> String {
    let made = moment::made(list);
    // The chain begins anew: there is no other way to be rid of rules whose time is over.
    let mut text = format!(
        "{MADE}{made}, its {family} sources\n\
         # Load it: {program}-restore --noflush FILE. It takes the place of the list before, and each rule ends at its date.\n\
         # Once, to drop in front of conntrack:\n\
         #   {program} -t raw -C PREROUTING -j ctwatch || {program} -t raw -I PREROUTING -j ctwatch\n\
         # Every packet is held against every rule: for more than a few hundred of them take the format ipset.\n\
         *raw\n\
         :ctwatch - [0:0]\n"
    );
    for block in list.blocks.iter().filter(|block| is_of_family(&block.network)) {
        let source = ruleset::element(&block.network);
        let end = moment::ended(list, block.duration);
        let end = end.strftime("%Y-%m-%dT%H:%M:%S");
        let why = note::quoted_line(&block.why, COMMENT_BYTES_MAX);
        text += &format!(
            "-A ctwatch -s {source} -m time --datestop {end} -m comment --comment \"{why}\" -j DROP\n"
        );
    }
    text + "COMMIT\n"
}

fn kept(list: &Blocklist, block: &Block) -> Entry {
    let end = moment::ended(list, block.duration);
    Entry {
        network: block.network,
        duration: Duration::try_from(end.duration_since(moment::made(list))).ok(),
        why: Some(note::quoted_line(&block.why, COMMENT_BYTES_MAX)),
    }
}

fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let made = text.lines().find_map(|line| line.strip_prefix(MADE)?.split(',').next());
    let made: Option<Timestamp> = made.and_then(|made| made.parse().ok());
    let mut entries = Vec::new();
    for mut line in Line::all(text) {
        if [":ctwatch", "*raw", "COMMIT"].into_iter().any(|word| line.has(word)) {
            continue;
        }
        for word in ["-A", "ctwatch", "-s"] {
            line.expect(word)?;
        }
        let network = line.network()?;
        for word in ["-m", "time", "--datestop"] {
            line.expect(word)?;
        }
        let wrong = line.wrong("a date and time in UTC");
        let end: Timestamp = format!("{}Z", line.word()?).parse().map_err(|_| wrong)?;
        for word in ["-m", "comment", "--comment"] {
            line.expect(word)?;
        }
        let why = Some(line.quoted()?.to_owned());
        line.expect("-j")?;
        line.expect("DROP")?;
        let duration = made.and_then(|made| Duration::try_from(end.duration_since(made)).ok());
        entries.push(Entry { network, duration, why });
    }
    Ok(entries)
}
