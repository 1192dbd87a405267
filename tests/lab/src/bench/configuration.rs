//! Who may watch the gateway while its traffic is measured: one row each. It must not start anybody.

use serde_json::Value;

use crate::program;

/// A way to watch, or none.
pub(super) struct Configuration {
    /// What it is called in the results.
    pub(super) name: &'static str,
    /// Whose it is.
    pub(super) group: Group,
    /// The program and its arguments; empty if nobody watches. `{netns}` stands for the gateway's name.
    pub(super) command: &'static [&'static str],
    /// What it prints once it sees everything, as often as given; what prints nothing is waited for until it is idle.
    pub(super) ready: Option<(&'static str, usize)>,
    /// How many new connections it counted, by its output.
    pub(super) new: Count,
    /// How many refused packets it counted, by its output.
    pub(super) refused: Count,
}

/// Reads a number from what an agent printed; `None` if it does not say.
pub(super) type Count = fn(&str) -> Option<u64>;

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// ctwatch, and nothing at all, against which everything is measured.
    Ours,
    /// Other people's.
    Peers,
}

/// Counts packets that ask for an entry, by source address: as much as fits into one line, without the end of entries,
/// refusals, IPv6, namespaces or protocols.
const BPFTRACE: &str = "BEGIN { printf(\"ready\\n\"); } kprobe:__nf_conntrack_alloc { @[ntop(*(uint32 *)arg2)] = count(); }";

/// The rows, in the order in which they take turns.
pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "none",
        group: Group::Ours,
        command: &[],
        ready: None,
        new: |_| None,
        refused: |_| None,
    },
    Configuration {
        name: "ctwatch_fexit",
        group: Group::Ours,
        command: &[
            "/bin/ctwatch",
            "watch",
            "--json",
            "--interval",
            "1s",
            "--netns",
            "{netns}",
            "--attach",
            "fexit",
        ],
        ready: Some(("\"schema\"", 2)),
        new: |output| total(output, "new"),
        refused: |output| total(output, "refused"),
    },
    Configuration {
        name: "ctwatch_kprobe",
        group: Group::Ours,
        command: &[
            "/bin/ctwatch",
            "watch",
            "--json",
            "--interval",
            "1s",
            "--netns",
            "{netns}",
            "--attach",
            "kprobe",
        ],
        ready: Some(("\"schema\"", 2)),
        new: |output| total(output, "new"),
        refused: |output| total(output, "refused"),
    },
    Configuration {
        name: "ctwatch_netlink",
        group: Group::Ours,
        command: &[
            "/bin/ctwatch",
            "watch",
            "--json",
            "--interval",
            "1s",
            "--netns",
            "{netns}",
            "--attach",
            "netlink",
        ],
        ready: Some(("\"schema\"", 2)),
        new: |output| total(output, "new"),
        refused: |output| total(output, "refused"),
    },
    Configuration {
        name: "conntrack_events",
        group: Group::Peers,
        command: &["conntrack", "-E"],
        ready: None,
        new: |output| Some(output.lines().filter(|line| line.contains("[NEW]")).count() as u64),
        refused: |_| None,
    },
    Configuration {
        name: "conntrack_list",
        group: Group::Peers,
        command: &["sh", "-c", "while :; do conntrack -L > /dev/null 2>&1; sleep 1; done"],
        ready: None,
        new: |_| None,
        refused: |_| None,
    },
    Configuration {
        name: "bpftrace",
        group: Group::Peers,
        command: &["bpftrace", "-e", BPFTRACE],
        ready: Some(("ready", 1)),
        new: counts_of_bpftrace,
        refused: |_| None,
    },
];

impl Configuration {
    /// Why it cannot be measured here, if so.
    pub(super) fn why_not(&self) -> Option<String> {
        let program = self.command.first().filter(|program| !program.starts_with('/'))?;
        let missing = program::find(program).is_none();
        missing.then(|| format!("{program} is not in this machine"))
    }
}

/// A total of the last of ctwatch's JSON lines.
fn total(output: &str, name: &str) -> Option<u64> {
    let last = output.lines().rfind(|line| line.starts_with('{'))?;
    serde_json::from_str::<Value>(last).ok()?.get("totals")?.get(name)?.as_u64()
}

/// The sum over bpftrace's lines `@[10.0.1.2]: 640`.
fn counts_of_bpftrace(output: &str) -> Option<u64> {
    let counts = output.lines().filter(|line| line.starts_with("@["));
    let counts: Option<Vec<u64>> =
        counts.map(|line| line.rsplit_once(": ")?.1.trim().parse().ok()).collect();
    counts.filter(|counts| !counts.is_empty()).map(|counts| counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: HashSet<&str> =
            CONFIGURATIONS.iter().map(|configuration| configuration.name).collect();
        assert_eq!(names.len(), CONFIGURATIONS.len());
        assert_eq!(
            CONFIGURATIONS[0].command, [""; 0],
            "the first is what the others are compared with"
        );
    }

    #[test]
    fn the_last_line_of_ctwatch_counts() {
        let output = "{\"totals\":{\"new\":1}}\n{\"totals\":{\"new\":640,\"refused\":null}}\nctwatch: talk\n";
        assert_eq!(total(output, "new"), Some(640));
        assert_eq!(total(output, "refused"), None);
        assert_eq!(total("", "new"), None);
    }

    #[test]
    fn the_counts_of_bpftrace_are_summed() {
        assert_eq!(counts_of_bpftrace("ready\n\n@[10.0.1.2]: 640\n@[10.0.1.3]: 2\n"), Some(642));
        assert_eq!(counts_of_bpftrace("ready\n"), None);
    }
}
