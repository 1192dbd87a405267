//! Arguments of `events`, and the kinds of events that `record` takes too.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::{LookArguments, duration, sources};
use crate::model::{
    event::{self, Kinds},
    event_filter::Filter,
    protocol,
};

/// What says how to look, and so makes no sense with a recording.
const LOOK_ONLY: [&str; 8] = [
    "duration",
    "netns",
    "attach",
    "no_wait",
    "max_sources",
    "ring_bytes",
    "netlink_buffer_bytes",
    "bpf_object",
];

/// The kinds that are rare where all is well.
pub(super) const RARE: &str = "refused,evicted,insert_failed,blocked";

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArguments {
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// What to follow; each end of an entry has a price, so they are only followed if asked for
    #[arg(long, value_enum, value_delimiter = ',', default_value = RARE)]
    pub kind: Vec<Kind>,
    /// Only what happens to these sources, or for a packet of theirs
    #[arg(long, value_name = "ADDR|CIDR", value_parser = sources)]
    pub source: Option<IpNet>,
    /// Only this protocol, by its name or number; blocks are of all protocols
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    pub protocol: Option<u8>,
    /// Only packets from or to this port; what is suppressed is of the same source and protocol, whatever its port
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Show what 'ctwatch record' has recorded to this file, instead of looking
    #[arg(long, value_name = "FILE", conflicts_with_all = LOOK_ONLY)]
    pub from: Option<PathBuf>,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

impl EventsArguments {
    /// What is asked for.
    pub fn filter(&self) -> Filter {
        let Self { source, protocol, port, .. } = *self;
        Filter { kinds: kinds(&self.kind), source, protocol, port }
    }
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Packets refused an entry, as the table was full
    Refused,
    /// Entries thrown out before their time to make room, and for whom
    Evicted,
    /// Packets whose entry could not be inserted, once the kernel has counted one
    #[value(name = "insert_failed")]
    InsertFailed,
    /// Entries that ended for any other reason, and why
    Ended,
    /// Sources that are blocked or capped, or are no more
    Blocked,
}

/// The set of these kinds.
pub fn kinds(kinds: &[Kind]) -> Kinds {
    let kinds = kinds.iter().map(|kind| match kind {
        Kind::Refused => event::Kind::Refused,
        Kind::Evicted => event::Kind::Evicted,
        Kind::InsertFailed => event::Kind::InsertFailed,
        Kind::Ended => event::Kind::Ended,
        Kind::Blocked => event::Kind::Blocked,
    });
    Kinds::of(&kinds.collect::<Vec<_>>())
}

fn protocol(text: &str) -> Result<u8, String> {
    protocol::number(text)
        .ok_or_else(|| "not a protocol; write for example tcp, udp, icmp or 47".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn kinds_are_called_as_in_json() {
        for kind in Kind::value_variants() {
            let name = kind.to_possible_value().unwrap().get_name().to_owned();
            let named: Vec<_> = kinds(&[*kind]).each().map(event::Kind::name).collect();
            assert_eq!(named, [name]);
        }
        assert_eq!(protocol("tcp"), Ok(6));
        assert!(protocol("any").is_err());
    }
}
