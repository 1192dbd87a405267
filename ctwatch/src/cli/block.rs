//! Arguments of the commands that keep sources out: `block`, `unblock`, `blocks`.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;
use ipnet::IpNet;
use jiff::{Span, SpanRelativeTo};

use super::{LookArguments, ProtectedArguments, StateArguments, duration, sources};
use crate::{blocklist::protected::unmapped, host::namespace::NamespaceTarget};

/// A block is never for longer.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Arguments of `block`.
#[derive(Debug, Args)]
pub struct BlockArguments {
    /// Who is kept out: addresses, or networks in CIDR form
    #[arg(value_name = "ADDR|CIDR", value_parser = blocked, required_unless_present = "file")]
    pub sources: Vec<IpNet>,
    /// Keep out who is listed in this file too, one address or network a line, behind a # why; - is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// For how long, from 1s to 365d; then they are let in again by themselves
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = block_time)]
    pub duration: Duration,
    /// Why, in a few words; it is written beside the block
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Leave their entries in the table until they time out
    #[arg(long)]
    pub keep_entries: bool,
    /// Block at once: do not look how others fare before and after
    #[arg(long)]
    pub now: bool,
    /// The most that a block is put off to look for a second before it, the time to attach the hooks included
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration, conflicts_with = "now")]
    pub look_within: Duration,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
    /// Whom never to block
    #[command(flatten)]
    pub protected: ProtectedArguments,
    /// Where effects are remembered
    #[command(flatten)]
    pub state: StateArguments,
}

/// Arguments of `unblock`.
#[derive(Debug, Args)]
pub struct UnblockArguments {
    /// Who is let in again: addresses, or networks, as they were blocked or capped
    #[arg(value_name = "ADDR|CIDR", value_parser = blocked, required_unless_present = "all", conflicts_with = "all")]
    pub sources: Vec<IpNet>,
    /// Let everybody in again, and take all rules away that ctwatch has made to block or cap
    #[arg(long)]
    pub all: bool,
    /// Where: self, a name from /run/netns, or a path such as /proc/PID/ns/net
    #[arg(long, value_name = "NAMESPACE", default_value = "self")]
    pub netns: NamespaceTarget,
}

/// Arguments of `blocks`.
#[derive(Debug, Args)]
pub struct BlocksArguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where: self, a name from /run/netns, or a path such as /proc/PID/ns/net
    #[arg(long, value_name = "NAMESPACE", default_value = "self")]
    pub netns: NamespaceTarget,
    /// Where effects are remembered
    #[command(flatten)]
    pub state: StateArguments,
}

/// As [`sources`]; IPv4 that is written as IPv6 never comes as such.
pub(super) fn blocked(text: &str) -> Result<IpNet, String> {
    // The length of `::ffff:10.0.1.2/128` stands for that of the IPv4 address in it.
    text.parse::<IpAddr>()
        .map(|address| address.to_canonical().into())
        .or_else(|_| sources(text).map(|network| unmapped(&network)))
}

/// Whole seconds; half ones count as whole.
pub(super) fn block_time(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time; write for example 90s, 10m, 12h or 7d".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    let days = SpanRelativeTo::days_are_24_hours();
    let time = span.to_duration(days).ok().and_then(|time| Duration::try_from(time).ok());
    let time = time.ok_or_else(wrong)?;
    let time = Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0));
    if (Duration::from_secs(1)..=DURATION_MAX).contains(&time) {
        Ok(time)
    } else {
        Err("a block is for at least 1s and at most 365d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_for_a_second_to_a_year() {
        let seconds = |text: &str| block_time(text).map(|time| time.as_secs());
        for (text, wanted) in [
            ("1s", 1),
            ("10m", 600),
            ("1h 30m", 5400),
            ("7d", 604_800),
            ("365d", 31_536_000),
            ("1500ms", 2),
        ] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for wrong in ["0", "0s", "366d", "-1m", "1y", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_blocked_as_what_it_is() {
        let network = |text: &str| blocked(text).map(|network| network.to_string());
        assert_eq!(network("::ffff:10.0.1.66"), Ok("10.0.1.66/32".to_owned()));
        assert_eq!(network("::ffff:10.0.1.0/120"), Ok("10.0.1.0/24".to_owned()));
        assert_eq!(network("2001:db8::/64"), Ok("2001:db8::/64".to_owned()));
        assert!(network("10.0.1.66/24").unwrap_err().contains("10.0.1.0/24"));
    }
}
