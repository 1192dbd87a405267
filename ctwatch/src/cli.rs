//! The command line, and nothing else.

mod advice;
mod change;
mod doctor;
#[cfg(feature = "screen")]
mod top;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

pub use self::advice::{AdviseArguments, BoundsArguments};
pub use self::change::{
    ApplyArguments, ChangesArguments, ConfirmArguments, RollbackArguments, StateArguments,
    WatchdogArguments,
};
pub use self::doctor::DoctorArguments;
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

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show who holds, opens and is refused entries, once an interval
    #[command(after_help = "\
Examples:
  ctwatch watch                              live table of the twenty sources that hold most
  ctwatch watch --sort new                   who opens most, right now
  ctwatch watch --source 10.0.1.2 --json     one source, and in 'census' where its connections go
  ctwatch watch --json --once                one JSON object, for scripts
  ctwatch watch --netns gateway              the table of a network namespace
  ctwatch watch --netns all                  the tables of all of them")]
    Watch(WatchArguments),
    /// The same on a screen, with keys: sort, filter, look into a source, advice
    #[cfg(feature = "screen")]
    #[command(after_help = top::HELP)]
    Top(TopArguments),
    /// Follow what happens to single packets: refusals
    #[command(after_help = "\
Examples:
  ctwatch events                             follow refusals
  ctwatch events --json --duration 10s       ten seconds of them, as JSON lines

A source is told of at most ten times a second; each line says how many more there were since its last one.")]
    Events(EventsArguments),
    /// Hold the numbers against the kernel's and against each other
    #[command(after_help = "\
Examples:
  ctwatch audit                              look for ten seconds, then print both sides of each identity
  ctwatch audit --for 5m --json              for five minutes, as one JSON object
  ctwatch audit --attach kprobe              the numbers of kprobes

It ends with status 3 if an identity does not hold. Numbers that change while they are read count as equal as far
as they can have been.")]
    Audit(AuditArguments),
    /// Say why the table fills and what helps; changes nothing
    #[command(after_help = "\
Examples:
  ctwatch advise                             look for ten seconds, then advise
  ctwatch advise --json --netns gateway      one JSON object, of a network namespace
  ctwatch advise --check                     for monitoring: status 3 if there is advice
  ctwatch advise --what-if tcp_timeout_close_wait=60
                                             what would end now under that timeout")]
    Advise(AdviseArguments),
    /// Examine everything about conntrack at once, in plain sentences; changes nothing
    #[command(after_help = "\
Examples:
  ctwatch doctor                             look for two seconds, then tell what was found
  ctwatch doctor --json --netns gateway      one JSON object, of a network namespace
  ctwatch doctor --for 30s                   look for longer

It reports and does not judge by its status: it ends with 0 whatever it found. Where it may not look, or nothing is
tracked, it tells what can be known without that; status 77 means that nothing at all could be read. For monitoring use
'ctwatch advise --check'.")]
    Doctor(DoctorArguments),
    /// Follow advice: show the plan, or carry out the one shown last
    #[command(after_help = "\
Examples:
  ctwatch apply                              look, and show what would be changed; changes nothing
  ctwatch apply --yes                        carry that out: limit and buckets only, if nothing has changed since
  ctwatch apply shorten-udp-timeout --yes    follow this advice too
  ctwatch apply --yes --confirm-within 5m    undo it unless 'ctwatch confirm' comes within five minutes

Each value is in a journal before it is changed, is read back, and is undone if a later one fails.")]
    Apply(ApplyArguments),
    /// Say that all is well after apply --confirm-within; make changes outlast a restart
    #[command(after_help = "\
Examples:
  ctwatch confirm                            keep the latest changes
  ctwatch confirm --persist                  and write the files that make them again when the machine starts
  ctwatch confirm --persist 3                the files for change set 3, also days later")]
    Confirm(ConfirmArguments),
    /// Undo changes: values and files are what they were before
    #[command(after_help = "\
Examples:
  ctwatch rollback                           undo the latest changes, also after a crash
  ctwatch rollback 3                         undo change set 3
  ctwatch rollback --force                   also where somebody else has changed a value since")]
    Rollback(RollbackArguments),
    /// List what was changed, when, why, and what became of it
    Changes(ChangesArguments),
    /// Undo a change set unless it is confirmed in time
    #[command(hide = true)]
    Watchdog(WatchdogArguments),
}

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
