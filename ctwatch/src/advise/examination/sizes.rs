//! Whether limit and buckets go together, and what they cost.

use super::{Sign, Subject};
use crate::advise::{
    advice::{Datum, Severity},
    case::Case,
    sizing::{
        chains::{self, ChainLimit},
        cost, eviction,
    },
    wording::{bytes, percent},
};

/// A loss from which on it is worth a warning.
const LOSS_WORTH_SAYING: f64 = 1e-4;
/// Look-ups walk half a chain: from here on they cost what a cache miss costs several times over.
const LOAD_SLOW: f64 = 8.0;
/// From this share on a full table is worth a warning.
const REFUSED_WORTH_SAYING: f64 = 0.05;
/// kernel.md: tables at their limits should not take more.
const MEMORY_SHARE_HIGH: f64 = 0.05;

/// The load of the hash table, now and at the limit, and the loss that goes with it.
pub(super) fn chains(subject: &Subject) -> Vec<Sign> {
    let Some(settings) = subject.settings else { return Vec::new() };
    let (Some(buckets), Some(entries)) = (settings.buckets(), entries_of_machine(subject)) else {
        return Vec::new();
    };
    let now = chains::load(entries, buckets);
    // The other namespaces' entries are in the same chains.
    let others = entries.saturating_sub(subject.entries().unwrap_or(0));
    let full = settings.limit().map(|limit| chains::load(limit.saturating_add(others), buckets));
    let worst = full.unwrap_or(now);
    let known = subject.case().and_then(|case| case.insertions().chain_limit());
    let loss = |load: f64| match known {
        Some(limit) => format!("{} of new connections", percent(limit.insert_loss(load))),
        None => format!(
            "{} of new connections on kernels whose chains may have 50 to 79 links (since 6.3), {} where 8 to 31 (5.15 to 6.2, unless patched)",
            percent(ChainLimit::Long.insert_loss(load)),
            percent(ChainLimit::Short.insert_loss(load))
        ),
    };
    let mut sentence = format!(
        "λ = {now:.2} links a bucket now ({entries} entries of all namespaces in {buckets} buckets), which loses {}",
        loss(now)
    );
    if let Some(full) = full {
        sentence
            .push_str(&format!("; λ = {full:.2} at the limit, which would lose {}", loss(full)));
    }
    let certain = known.unwrap_or(ChainLimit::Long);
    let severity = if certain.insert_loss(now) >= LOSS_WORTH_SAYING {
        Severity::Critical
    } else if certain.insert_loss(worst) >= LOSS_WORTH_SAYING || worst > LOAD_SLOW {
        Severity::Warning
    } else {
        Severity::Info
    };
    let from = "2 · entries of all namespaces / nf_conntrack_buckets";
    let mut sign = Sign::new(
        severity,
        sentence,
        vec![
            Datum::real("load", now, from),
            Datum::real(
                "insert_loss",
                certain.insert_loss(now),
                "Poisson(load) above the chain limit",
            ),
        ],
    );
    if let Some(full) = full {
        sign = sign.with(Datum::real("load_at_limit", full, from));
        let loss = certain.insert_loss(full);
        sign = sign.with(Datum::real(
            "insert_loss_at_limit",
            loss,
            "Poisson(load) above the chain limit",
        ));
    }
    if let Some(known) = known {
        sign = sign.with(Datum::text("chain_limit", known.name(), "chaintoolong of the look"));
    }
    vec![sign]
}

fn entries_of_machine(subject: &Subject) -> Option<u64> {
    let here = subject.entries()?;
    let others = subject.facts.namespaces.iter().filter(|other| other.netns != subject.netns);
    Some(others.map(|other| other.entries).fold(here, u64::saturating_add))
}

/// What a full table would refuse although something in it could be evicted.
pub(super) fn eviction(subject: &Subject) -> Vec<Sign> {
    let Some(settings) = subject.settings else { return Vec::new() };
    let (Some(limit), Some(buckets)) = (settings.limit(), settings.buckets()) else {
        return Vec::new();
    };
    let seen = subject.case().and_then(|case| Some((case, case.evictable()?)));
    let Some((case, evictable)) = seen else {
        let sentence = "how many entries could be evicted is not known: the table was not walked";
        return vec![Sign::unknown(sentence)];
    };
    let held = held(case);
    if held == 0 {
        return Vec::new();
    }
    let share = evictable as f64 / held as f64;
    let at_full = (share * limit as f64) as u64;
    let refused = eviction::refused_when_full(at_full, buckets);
    let sentence = format!(
        "{} of the entries could be evicted ({evictable} of {held} are not assured); a full table of this kind would refuse {} of the packets \
         that find it full: exp(−16·E/B) with E = {at_full} and B = {buckets}",
        percent(share),
        percent(refused)
    );
    let severity = if refused >= REFUSED_WORTH_SAYING { Severity::Warning } else { Severity::Info };
    vec![Sign::new(
        severity,
        sentence,
        vec![
            Datum::count("evictable", evictable, "census of 'watch --json'"),
            Datum::real("evictable_share", share, "evictable / entries walked"),
            Datum::real("refused_at_full", refused, "exp(−16·E/B)"),
        ],
    )]
}

/// Entries of the last walk.
fn held(case: &Case) -> u64 {
    case.last.census.as_ref().map_or(0, |now| now.census.entries)
}

/// Memory of one entry and of a full table.
pub(super) fn memory(subject: &Subject) -> Vec<Sign> {
    let memory = &subject.facts.memory;
    let mut signs = Vec::new();
    let (entry, from) = cost::entry_bytes(memory);
    let reasons = if memory.extension_reasons.is_empty() {
        match memory.extension_bytes {
            Some(_) => "nothing gives entries extensions".to_owned(),
            None => "whether entries have extensions is not known".to_owned(),
        }
    } else {
        format!(
            "of these 128 B of extensions at least, as {}",
            memory.extension_reasons.join(", and ")
        )
    };
    let measured =
        if memory.entry_bytes.is_some() { "" } else { ", assumed: /proc/slabinfo is for root" };
    let sentence = format!("a new entry takes {entry} B{measured}; {reasons}");
    signs.push(Sign::info(sentence).with(Datum::count("entry_bytes", entry, from)));
    signs.extend(blocks(subject));
    let settings = subject.settings;
    let sizes = settings.and_then(|settings| Some((settings.limit()?, settings.buckets()?)));
    if let Some((limit, buckets)) = sizes {
        signs.push(full(subject, limit, buckets, entry));
    }
    signs
}

/// How many of the entries there are can have extensions, where that is not all of them. Nobody counts those that have.
fn blocks(subject: &Subject) -> Option<Sign> {
    let memory = &subject.facts.memory;
    let (objects, blocks) = (memory.entry_objects?, memory.extension_objects_max?);
    let entries = entries_of_machine(subject).filter(|entries| blocks < *entries)?;
    let sentence = format!(
        "of the {entries} entries of all namespaces at most {} have extensions: no more pieces of their size are in use, by anybody",
        percent(blocks as f64 / entries as f64)
    );
    Some(
        Sign::info(sentence)
            .with(Datum::count("entry_objects", objects, "/proc/slabinfo, nf_conntrack"))
            .with(Datum::count("extension_objects_max", blocks, "/proc/slabinfo, kmalloc-128")),
    )
}

fn full(subject: &Subject, limit: u64, buckets: u64, entry_bytes: u64) -> Sign {
    let table = cost::table_bytes(limit, buckets, entry_bytes);
    let mut sentence =
        format!("a full table of {limit} entries and {buckets} buckets takes {}", bytes(table));
    let mut severity = Severity::Info;
    let mut evidence =
        vec![Datum::count("full_table_bytes", table, "limit · entry_bytes + 8 · buckets")];
    if let Some(total) = subject.facts.memory.total_bytes {
        let share = table as f64 / total.max(1) as f64;
        sentence.push_str(&format!(", {} of the machine's {}", percent(share), bytes(total)));
        if share > MEMORY_SHARE_HIGH {
            severity = Severity::Warning;
        }
        evidence.push(Datum::real("memory_share", share, "full_table_bytes / MemTotal"));
    }
    sentence.push_str(
        ", once for each namespace that fills its own; no control group is charged for it",
    );
    Sign::new(severity, sentence, evidence)
}
