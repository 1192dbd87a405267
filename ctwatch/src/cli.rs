//! The command line, and nothing else.

mod advice;
pub mod agent;
mod block;
mod blocklist;
mod cap;
mod change;
mod check;
mod command;
mod doctor;
mod documents;
mod protected;
mod recorded;
mod recording;
#[cfg(feature = "screen")]
mod top;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, ValueEnum};
use ipnet::IpNet;

pub use self::advice::{AdviseArguments, BoundsArguments};
pub use self::agent::AgentArguments;
pub use self::block::{BlockArguments, BlocksArguments, UnblockArguments};
pub use self::blocklist::BlocklistArguments;
pub use self::cap::CapArguments;
pub use self::change::{
    ApplyArguments, ChangesArguments, ConfirmArguments, RollbackArguments, StateArguments,
    WatchdogArguments,
};
pub use self::check::CheckArguments;
pub use self::command::Command;
pub use self::doctor::DoctorArguments;
pub use self::documents::{CompletionsArguments, ManArguments};
pub use self::protected::ProtectedArguments;
pub use self::recorded::RecordingArguments;
pub use self::recording::{RecordArguments, RecordingBounds, ReplayArguments};
#[cfg(feature = "screen")]
pub use self::top::TopArguments;
use crate::{
    conntrack::follow::RECEIVE_BUFFER_BYTES_DEFAULT,
    host::namespace::NamespaceChoice,
    model::limits::SortBy,
    probe::{
        attach::Ceiling,
        object::{RING_BYTES_DEFAULT, SOURCES_DEFAULT},
    },
};

/// Who fills the connection-tracking table of this machine, live.
#[derive(Debug, Parser)]
#[command(name = "ctwatch", version, about, disable_help_subcommand = true, after_help = EXIT_STATUS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 fine, 1 the operation failed, 2 wrong arguments,
3 something is wrong (audit, advise --check), 77 cannot run here (the reason is on stderr).";

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Time between two updates, from 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// End after one update; implies --no-wait
    #[arg(long)]
    pub once: bool,
    /// How many sources to list; the others are summed up
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// What to order the sources by; new and refused go by the last interval
    #[arg(long, value_enum, default_value_t = Sort::Entries)]
    pub sort: Sort,
    /// List only these sources, and count only their destinations
    #[arg(long, value_name = "ADDR|CIDR", value_parser = sources)]
    pub source: Option<IpNet>,
    /// Walk the table at least so often for its states and destinations; otherwise at the start and under pressure
    /// only. After a walk there is a pause of 20 times what it took
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub census: Option<Duration>,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArguments {
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// What to follow
    #[arg(long, value_enum, value_delimiter = ',', default_value = "refused")]
    pub kind: Vec<Kind>,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArguments {
    /// Print JSON, one object for each namespace
    #[arg(long)]
    pub json: bool,
    /// How long to look
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

/// Where and how to look.
#[derive(Debug, Args)]
pub struct LookArguments {
    /// Whose table: self, a name from /run/netns, a path such as /proc/PID/ns/net, or all: every namespace that tracks
    /// connections, now or later, up to 128 of them
    #[arg(long, value_name = "NAMESPACE", default_value = "self")]
    pub netns: NamespaceChoice,
    /// How to look: the best way there is, this one or nothing, or without hooks on conntrack. Where conntrack
    /// is a module, fexit keeps it from being unloaded
    #[arg(long, value_enum, default_value_t = Attach::Auto)]
    pub attach: Attach,
    /// End with status 77 where nothing is tracked, instead of waiting for it
    #[arg(long)]
    pub no_wait: bool,
    /// Sources counted one by one; beyond them prefixes are counted. 350 bytes of kernel memory each
    #[arg(long, value_name = "N", default_value_t = SOURCES_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub max_sources: u32,
    /// Bytes of the ring buffer that events come through; one too small loses some, and says so
    #[arg(long, value_name = "BYTES", default_value_t = RING_BYTES_DEFAULT, value_parser = ring_bytes, hide = true)]
    pub ring_bytes: u32,
    /// Bytes that ctnetlink's events may wait in; too few lose some, and it is said
    #[arg(long, value_name = "BYTES", default_value_t = RECEIVE_BUFFER_BYTES_DEFAULT, hide = true)]
    pub netlink_buffer_bytes: usize,
    /// A BPF object to use instead of the built-in one
    #[arg(long, value_name = "FILE", hide = true)]
    pub bpf_object: Option<PathBuf>,
}

/// What to order sources by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Entries held
    Entries,
    /// Entries made
    New,
    /// Packets refused
    Refused,
    /// Entries of anybody thrown out for them
    #[value(name = "evictions_caused")]
    EvictionsCaused,
    /// Entries held times seconds, since the start
    #[value(name = "entry_seconds")]
    EntrySeconds,
}

impl From<Sort> for SortBy {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Entries => Self::Entries,
            Sort::New => Self::New,
            Sort::Refused => Self::Refused,
            Sort::EvictionsCaused => Self::EvictionsCaused,
            Sort::EntrySeconds => Self::EntrySeconds,
        }
    }
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Packets refused an entry
    Refused,
}

/// How to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// The best way there is: the first of the following that works
    Auto,
    /// Traced functions (fentry and fexit), or end with status 77
    Fexit,
    /// Kprobes, or end with status 77
    Kprobe,
    /// Without hooks on conntrack, even where they are possible
    Netlink,
}

impl From<Attach> for Ceiling {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Auto => Self::Highest,
            Attach::Fexit => Self::Fexit,
            Attach::Kprobe => Self::Kprobe,
            Attach::Netlink => Self::Netlink,
        }
    }
}

/// An address, or a network in CIDR form without host bits.
fn sources(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        "neither an address nor a network; write for example 10.0.1.2, 10.0.1.0/24 or 2001:db8::/64"
            .to_owned()
    })?;
    let whole = network.trunc();
    if network == whole {
        Ok(network)
    } else {
        Err(format!("has bits behind its prefix length; the network is {whole}"))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| "not a time; write for example 250ms, 1s or 5m".to_owned())?;
    Duration::try_from(parsed)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a time must be longer than zero".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
        Ok(interval)
    } else {
        Err("an interval must be from 100ms to 1h".to_owned())
    }
}

/// What the kernel takes as the size of a ring buffer (kernel/bpf/ringbuf.c, ringbuf_map_alloc).
fn ring_bytes(text: &str) -> Result<u32, String> {
    let wrong = "a ring buffer has a power of two from 4096 to 268435456 bytes";
    text.parse()
        .ok()
        .filter(|bytes: &u32| bytes.is_power_of_two() && (4096..=1 << 28).contains(bytes))
        .ok_or_else(|| wrong.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What stands before a pipe, a redirection or the explanation of an example, as a shell takes it apart.
    fn words(example: &str) -> Vec<String> {
        let command = example.trim().split("  ").next().unwrap();
        let mut words = Vec::new();
        for (position, part) in command.split('\'').enumerate() {
            if position % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words.into_iter().take_while(|word| !["|", ">"].contains(&word.as_str())).collect()
    }

    #[test]
    fn every_command_has_examples_that_it_takes() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> =
                help.lines().filter(|line| line.starts_with("  ctwatch ")).collect();
            assert!(!examples.is_empty(), "{name} has no example");
            for example in examples {
                let words = words(example);
                assert_eq!(words[1], name, "{example}");
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{example}: {error}");
                }
            }
        }
    }

    #[test]
    fn sources_are_an_address_or_a_network() {
        let network = |text: &str| sources(text).map(|network| network.to_string());
        assert_eq!(network("10.0.1.2"), Ok("10.0.1.2/32".to_owned()));
        assert_eq!(network("2001:db8::/64"), Ok("2001:db8::/64".to_owned()));
        assert!(network("10.0.1.2/24").unwrap_err().contains("10.0.1.0/24"));
        for wrong in ["10.0.1", "10.0.0.0/33", "gateway", ""] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ring_is_pages_in_a_power_of_two() {
        assert_eq!(ring_bytes("4096"), Ok(4096));
        for wrong in ["0", "2048", "12288", "4294967296", "many"] {
            assert!(ring_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals_are_bounded() {
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(interval("1h"), Ok(Duration::from_secs(3600)));
        for wrong in ["0s", "99ms", "2h", "-1s", "soon", ""] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
