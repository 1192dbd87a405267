//! The subcommands, with their help.

use clap::Subcommand;

use super::{
    AdviseArguments, AgentArguments, ApplyArguments, AuditArguments, BlockArguments,
    BlocklistArguments, BlocksArguments, CapArguments, ChangesArguments, CheckArguments,
    CompletionsArguments, ConfirmArguments, DoctorArguments, EventsArguments, ManArguments,
    RecordArguments, ReplayArguments, RollbackArguments, UnblockArguments, WatchArguments,
    WatchdogArguments,
};

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
    #[command(after_help = super::top::HELP)]
    Top(super::TopArguments),
    /// Follow what happens to single packets: refusals
    #[command(after_help = "\
Examples:
  ctwatch events                             follow refusals
  ctwatch events --json --duration 10s       ten seconds of them, as JSON lines

A source is told of at most ten times a second; each line says how many more there were since its last one.")]
    Events(EventsArguments),
    /// Keep what is seen in a file, to replay it later or elsewhere
    #[command(after_help = "\
Examples:
  ctwatch record outage.ctw                  until Ctrl-C: who holds the table, once a second, and what is refused
  ctwatch record outage.ctw --duration 10m --interval 5s
  ctwatch record night.ctw --files 8 --max-bytes 256M
                                             at most 2 GB: night.ctw, and seven older files beside it

A file of 64M holds more than ten minutes of a flood from ever new sources, and an hour of it with --top 20. What is recorded
is written at least every five seconds, so no more is lost if ctwatch or the machine dies.")]
    Record(RecordArguments),
    /// Show what was recorded as if it were seen now
    #[command(after_help = "\
Examples:
  ctwatch replay outage.ctw                  the table, as it was recorded
  ctwatch replay outage.ctw --speed 10x      ten times as fast
  ctwatch replay outage.ctw --json           what 'watch --json' would have printed, at once
  ctwatch replay outage.ctw --events --json  what 'events --json' would have printed

It needs no privilege and no conntrack. A recording that is cut off or damaged is replayed as far as it is whole; what is
missing is said on stderr.")]
    Replay(ReplayArguments),
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
  ctwatch advise --record look.ctw           keep the look too, to send it to somebody
  ctwatch advise --from look.ctw             the same advice again, on any machine
  ctwatch advise --from outage.ctw --for 1m  on the last minute of a recording (see 'ctwatch record')
  ctwatch advise --what-if tcp_timeout_close_wait=60
                                             what would end now under that timeout")]
    Advise(AdviseArguments),
    /// Write down who should be kept out, for a firewall; changes nothing
    #[command(after_help = "\
Examples:
  ctwatch blocklist --format plain           look for ten seconds, then list who fills the table while others are refused
  ctwatch blocklist --format plain --output /run/ctwatch.list
                                             replace a file at once; it stays what it was if the look fails
  ctwatch blocklist --format plain --share 0 --min-entries 5000 --harm 0
                                             whoever holds 5000 entries, whether that harms anybody or not
  ctwatch blocklist --format csv --from outage.ctw --for 1m
                                             who filled it in the last minute of a recording (see 'ctwatch record')

Whoever would be listed and is spared, and why a list is empty, is said on stderr. A list may be empty, and that is no
failure. A flood from addresses that are made up lists nobody: 'ctwatch advise' says what helps against it.")]
    Blocklist(Box<BlocklistArguments>),
    /// Examine everything about conntrack at once, in plain sentences; changes nothing
    #[command(after_help = "\
Examples:
  ctwatch doctor                             look for two seconds, then tell what was found
  ctwatch doctor --json --netns gateway      one JSON object, of a network namespace
  ctwatch doctor --for 30s                   look for longer
  ctwatch doctor --from outage.ctw           the end of a recording, and the machine as it was then

It reports and does not judge by its status: it ends with 0 whatever it found. Where it may not look, or nothing is
tracked, it tells what can be known without that; status 77 means that nothing at all could be read. For monitoring use
'ctwatch advise --check'.")]
    Doctor(DoctorArguments),
    /// One line for a monitoring system: OK, WARNING, CRITICAL or UNKNOWN, and why
    #[command(after_help = "\
Examples:
  ctwatch check                              warning at 75 %, critical at 90 % of the limit or at any refusal
  ctwatch check -w 60 -c 80 --time-to-full 10m
  ctwatch check --netns gateway              of a network namespace
  ctwatch check --from outage.ctw --for 1m   what it would have said of the last minute of a recording

The line and the status are those of a monitoring plugin (Nagios, Icinga and others): 0 OK, 1 WARNING, 2 CRITICAL,
3 UNKNOWN, which wrong arguments are too. Two readings of the kernel's own counters are all it takes, and no
privilege; who fills the table is looked for only if something is wrong, and only as root. Refusals are those within
--for; the counters behind the bar are totals, so that the monitoring system sees what happened between two checks.")]
    Check(CheckArguments),
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
    #[command(after_help = "\
Examples:
  ctwatch changes                            all change sets, the latest last
  ctwatch changes --json                     one JSON object")]
    Changes(ChangesArguments),
    /// Look without a screen, and serve what is seen to Prometheus
    #[command(after_help = "\
Examples:
  ctwatch agent                              metrics at http://127.0.0.1:9476/metrics
  ctwatch agent --listen 10.0.0.1:9476 --netns all --top 50
  ctwatch agent --config /etc/ctwatch/agent.toml
  ctwatch agent --record /var/lib/ctwatch/agent.ctw --files 8
                                             and keep what is seen, for 'ctwatch replay'
  ctwatch agent --from outage.ctw            the metrics of a recording, as if they were of now

/metrics is OpenMetrics text, or the older text format for whoever does not ask for that. /healthz answers 200 while
snapshots come and 503 if they have stopped; then /metrics has no numbers any more. /snapshot.json has the latest
snapshots. Anyone who can connect can read them, so it listens on this machine only unless told otherwise. That a recording
cannot be written is said and counted, tried again, and does not end it.")]
    Agent(AgentArguments),
    /// Print what completes ctwatch's command line in a shell
    #[command(after_help = "\
Examples:
  ctwatch completions bash > /etc/bash_completion.d/ctwatch
  ctwatch completions fish > ~/.config/fish/completions/ctwatch.fish")]
    Completions(CompletionsArguments),
    /// Print a manual page
    #[command(after_help = "\
Examples:
  ctwatch man | man -l -                     read it
  ctwatch man watch > ctwatch-watch.1        the page of a command")]
    Man(ManArguments),
    /// Keep sources out before they cost an entry, for ten minutes unless told
    #[command(after_help = "\
Examples:
  ctwatch block 10.0.1.66                    for ten minutes; its entries are ended too
  ctwatch block 10.0.1.0/24 2001:db8:7::/64 --for 2h --why 'flood, ticket 4711'
  ctwatch block 10.0.1.66 --for 1d           blocked already: it has its time anew
  ctwatch block --file list                  whom a file lists, in one transaction

All are blocked or none. It needs nft and loads nf_tables if it is not loaded; packets are dropped in the table
'inet ctwatch', in front of conntrack. This machine's own addresses, its routers and resolvers, and whoever is connected to
it over SSH are never blocked. Who is blocked is let in again in the end, whatever becomes of this program.")]
    Block(BlockArguments),
    /// Let a source hold so many entries and no more, for ten minutes unless told: milder than a block
    #[command(after_help = "\
Examples:
  ctwatch cap 10.0.1.66 200                  an address: at most 200 entries
  ctwatch cap 10.0.1.0/24 2000 --for 2h --why 'ticket 4711'
                                             a network: at most 2000 of all its addresses together
  ctwatch cap 2001:db8:7::/64 200            in IPv6 cap the /64: a host in it has all of its addresses
  ctwatch cap 10.0.1.66 200 --for 1d         capped already: it has its time anew

Only entries made since count; with --end-entries those it holds are ended, so that the cap holds from the start. What is
beyond it is dropped behind conntrack, before its entry gets into the table: that keeps the table from filling up, but is no
help once it is full, as the packet is refused there before the cap sees it: block then (ctwatch block). Only what
comes in from the network is capped, not what this machine sends itself. Whom 'ctwatch block' never blocks is not capped either.
'ctwatch blocks' lists caps, 'ctwatch unblock' lifts them, and each ends by itself. An address in a capped network is held
against both caps. Another number than before begins to count anew. A high number costs time, as the kernel looks up
what it has counted for each new entry.")]
    Cap(CapArguments),
    /// Let blocked sources in again, and lift caps
    #[command(after_help = "\
Examples:
  ctwatch unblock 10.0.1.66
  ctwatch unblock --all                      everybody; no rule of ctwatch blocks or caps any more")]
    Unblock(UnblockArguments),
    /// List who is blocked or capped, until when, why, and what it did; changes nothing
    #[command(after_help = "\
Examples:
  ctwatch blocks
  ctwatch blocks --json --netns gateway      one JSON object, of a network namespace")]
    Blocks(BlocksArguments),
    /// Undo a change set unless it is confirmed in time
    #[command(hide = true)]
    Watchdog(WatchdogArguments),
}
