//! What has happened: the kernel's log and its counters.

use super::{Sign, Subject};
use crate::{
    advise::{
        advice::{Datum, Severity},
        wording::duration,
    },
    model::{
        fields::{KERNEL, Value},
        snapshot::KernelStatistics,
    },
};

/// A full table longer ago than this is history.
const RECENT_S: u64 = 3600;
const LOG: &str = "/dev/kmsg";

/// Lines of a full table, and how many were suppressed.
pub(super) fn kernel_log(subject: &Subject) -> Vec<Sign> {
    let log = &subject.facts.log;
    if !log.is_known {
        // Why is told among what could not be read.
        return Vec::new();
    }
    let covers = log.covers_s.map_or_else(String::new, |covers| {
        format!(", which goes back {}", duration(covers as f64))
    });
    let mut signs = Vec::new();
    if log.table_full > 0 {
        let ago = log.last_full_s_ago.unwrap_or(0);
        let severity = if ago <= RECENT_S { Severity::Critical } else { Severity::Warning };
        let sentence = format!(
            "\"table full, dropping packet\" stands {} times in the kernel's log{covers}, the last time {} ago. The kernel \
             logs a few lines in five seconds only: the number of packets is in 'drop' below, and 'ctwatch events' tells whose they are",
            log.table_full,
            duration(ago as f64)
        );
        signs.push(Sign::new(
            severity,
            sentence,
            vec![
                Datum::count("table_full_lines", log.table_full, LOG),
                Datum::count("last_full_s_ago", ago, LOG),
            ],
        ));
    }
    if log.suppressed > 0 {
        let sentence = format!(
            "{} lines of the kernel's network code were suppressed (\"callbacks suppressed\"), whatever they were about",
            log.suppressed
        );
        let suppressed = Datum::count("suppressed_lines", log.suppressed, LOG);
        signs.push(Sign::new(Severity::Info, sentence, vec![suppressed]));
    }
    if log.expectation_table_full > 0 {
        let sentence = format!(
            "\"expectation table full\" stands {} times in the kernel's log{covers}: transfers of FTP, calls of SIP and their like fail, \
             which no counter shows",
            log.expectation_table_full
        );
        let lines = Datum::count("expectation_table_full_lines", log.expectation_table_full, LOG);
        signs.push(Sign::new(Severity::Warning, sentence, vec![lines]));
    }
    if signs.is_empty() {
        signs.push(Sign::info(format!("the kernel's log{covers}, has no line of a full table")));
    }
    signs
}

/// A counter that means loss, and what it tells.
struct Counter {
    name: &'static str,
    count: fn(&KernelStatistics) -> Option<u64>,
    meaning: &'static str,
}

const LOSSES: &[Counter] = &[
    Counter {
        name: "drop",
        count: |kernel| kernel.drop,
        meaning: "packets dropped: the table was full, no memory, or two connections wanted one tuple",
    },
    Counter {
        name: "early_drop",
        count: |kernel| kernel.early_drop,
        meaning: "entries thrown out to make room",
    },
    Counter {
        name: "insert_failed",
        count: |kernel| kernel.insert_failed,
        meaning: "entries that could not be inserted",
    },
    Counter {
        name: "chaintoolong",
        count: |kernel| kernel.chaintoolong,
        meaning: "of these, those whose hash chain was too long: too few buckets",
    },
    Counter {
        name: "found",
        count: |kernel| kernel.found,
        meaning: "translations that found their tuple taken: ports of source NAT run short",
    },
    Counter {
        name: "search_restart",
        count: |kernel| kernel.search_restart,
        meaning: "look-ups begun again, as while the hash table is made anew",
    },
];

/// The counters since the namespace was made, and what came to them while it was looked.
pub(super) fn statistics(subject: &Subject) -> Vec<Sign> {
    let by_cpu = &subject.facts.statistics_by_cpu;
    let meanwhile = subject.case().map(|case| (case.kernel(), case.seconds));
    if by_cpu.is_empty() && meanwhile.is_none() {
        return Vec::new();
    }
    let mut signs: Vec<Sign> = LOSSES
        .iter()
        .filter_map(|counter| {
            let counts: Vec<u64> = by_cpu.iter().filter_map(counter.count).collect();
            let total = counts.iter().copied().reduce(u64::saturating_add);
            let added = meanwhile.and_then(|(kernel, _)| (counter.count)(kernel));
            if total.unwrap_or(0) == 0 && added.unwrap_or(0) == 0 {
                return None;
            }
            Some(loss(counter, &counts, total, added.zip(meanwhile.map(|(_, seconds)| seconds))))
        })
        .collect();
    if signs.is_empty() {
        signs.push(Sign::info("no counter of losses has ever moved in this namespace"));
    }
    if let Some(first) = signs.first_mut() {
        first.evidence.extend(all(by_cpu));
    }
    signs
}

fn loss(counter: &Counter, counts: &[u64], total: Option<u64>, added: Option<(u64, f64)>) -> Sign {
    let mut sentence = counter.name.to_owned();
    let mut evidence = Vec::new();
    if let Some(total) = total {
        let cpus = counts.iter().filter(|count| **count > 0).count();
        sentence.push_str(&format!(" {total} since the start, on {cpus} of {} CPUs", counts.len()));
        let listed: Vec<String> = counts.iter().map(u64::to_string).collect();
        evidence.push(Datum::text("by_cpu", listed.join(" "), "/proc/net/stat/nf_conntrack"));
    }
    let mut severity = Severity::Info;
    if let Some((added, seconds)) = added {
        let join = if total.is_some() { ", of these" } else { "" };
        sentence.push_str(&format!("{join} {added} in the last {}", duration(seconds)));
        evidence.push(Datum::count("while_looking", added, "kernel of 'watch --json'"));
        // Evictions and restarts are no loss by themselves.
        let is_loss = !["search_restart", "found"].contains(&counter.name);
        if added > 0 && is_loss {
            severity =
                if counter.name == "early_drop" { Severity::Warning } else { Severity::Critical };
        }
    }
    Sign::new(severity, format!("{sentence}: {}", counter.meaning), evidence)
}

/// Every counter summed over the CPUs, by the kernel's name.
fn all(by_cpu: &[KernelStatistics]) -> Vec<Datum> {
    let sum = |value: fn(&KernelStatistics) -> Value| {
        let counts = by_cpu.iter().filter_map(|cpu| match value(cpu) {
            Value::Count(count) => Some(count),
            _ => None,
        });
        counts.reduce(u64::saturating_add)
    };
    KERNEL
        .iter()
        .filter_map(|field| {
            Some(Datum::count(field.name, sum(field.value)?, "/proc/net/stat/nf_conntrack"))
        })
        .collect()
}
