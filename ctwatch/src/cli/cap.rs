//! Arguments of `cap`.

use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use super::{
    ProtectedArguments,
    block::{block_time, blocked},
};
use crate::{blocklist::cap_ruleset::ENTRIES_MAX, host::namespace::NamespaceTarget};

/// Arguments of `cap`.
#[derive(Debug, Args)]
pub struct CapArguments {
    /// Who is capped: an address, or a network in CIDR form as a whole
    #[arg(value_name = "ADDR|CIDR", value_parser = blocked)]
    pub source: IpNet,
    /// How many entries it may hold, from 1 to 4096
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ENTRIES_MAX)))]
    pub entries_max: u32,
    /// For how long, from 1s to 365d; then the cap ends by itself
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = block_time)]
    pub duration: Duration,
    /// Why, in a few words; it is written beside the cap
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// End the entries that it holds, which the cap does not count
    #[arg(long)]
    pub end_entries: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where: self, a name from /run/netns, or a path such as /proc/PID/ns/net
    #[arg(long, value_name = "NAMESPACE", default_value = "self")]
    pub netns: NamespaceTarget,
    /// Whom never to cap
    #[command(flatten)]
    pub protected: ProtectedArguments,
}
