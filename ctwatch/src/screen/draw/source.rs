//! One source: what it holds and did, where its connections go, what happened to it, and what blocking it would free.

use super::{
    events,
    page::{PageLine, sentence},
};
use crate::{
    advise::wording,
    model::{
        census::{Census, destinations::Destination},
        protocol,
        snapshot::{Snapshot, SourceNumbers},
    },
    output::json::{protocol_of, time},
    screen::{
        columns::{count, rate, share},
        rows,
        source_view::SourceView,
        state::State,
        style::Role,
    },
};

const INDENT: usize = 12;
/// Rows of each list: the rest is in 'ctwatch watch --source'.
const LISTED: usize = 8;

/// All of it.
pub(super) fn page(state: &State, source: &SourceView, width: usize) -> Vec<PageLine> {
    let Some(snapshot) = state.snapshot() else { return Vec::new() };
    let mut page = vec![PageLine::new(Role::Heading, source.name())];
    match &source.sum {
        Some(sum) => {
            page.extend(held(sum, snapshot, width));
            page.extend(protocols(&source.parts));
            page.extend(blocking(state, source, sum, snapshot, width));
        }
        None => page.push(PageLine::plain("it holds nothing now, and has not lately")),
    }
    page.push(PageLine::empty());
    match &source.walked {
        None => page.push(PageLine::plain("walking the table for its connections")),
        Some(Err(why)) => page.extend(sentence(width, Role::Warning, "", 0, why)),
        Some(Ok(walked)) => {
            let clock = time(walked.wall_ns);
            let clock = clock.get(11..19).unwrap_or_default();
            let heading = format!("ITS CONNECTIONS at {clock}Z: {}", walked.census.entries);
            page.push(PageLine::new(Role::Heading, heading));
            page.extend(connections(&walked.census));
        }
    }
    page.push(PageLine::empty());
    page.push(PageLine::new(Role::Heading, "EVENTS"));
    let is_its = |key| rows::network(key).is_some_and(|network| source.network.contains(&network));
    let of_it = state
        .events
        .iter()
        .rev()
        .filter(|event| Some(event.netns) == state.netns && is_its(&event.source));
    let before = page.len();
    page.extend(of_it.take(LISTED).flat_map(|event| events::lines(event, width)));
    if page.len() == before {
        page.push(PageLine::plain("none"));
    }
    page
}

fn held(sum: &SourceNumbers, snapshot: &Snapshot, width: usize) -> Vec<PageLine> {
    let table = &snapshot.table;
    let mut page = Vec::new();
    let mut add = |label: &str, said: &str| {
        page.extend(sentence(width, Role::Plain, label, INDENT, said));
    };
    add(
        "holds",
        &format!(
            "{} entries, {} of all; {} assured, {} without an answer at the last walk",
            count(sum.entries),
            share(sum.entries, table.entries),
            count(sum.assured),
            count(sum.unreplied),
        ),
    );
    add("opens", &format!("{}/s, {} since the start", rate(sum.new_per_s), count(sum.new)));
    add("refused", &format!("{}/s, {} packets", rate(sum.refused_per_s), count(sum.refused)));
    add(
        "evictions",
        &format!(
            "{} entries of anybody for its packets, {} of its own for anybody's",
            count(sum.evictions_caused),
            count(sum.evicted)
        ),
    );
    add(
        "ended",
        &format!(
            "{}: {} timed out, {} closed, {} deleted, {} evicted, {} by gc, {} never in the table",
            count(sum.ended),
            count(sum.timed_out),
            count(sum.closed),
            count(sum.deleted),
            count(sum.evicted),
            count(sum.evicted_by_gc),
            count(sum.transient),
        ),
    );
    let rented = sum.entry_seconds.map_or_else(
        || "-".to_owned(),
        |rented| match snapshot.totals.entry_seconds {
            Some(all) if all > 0.0 => {
                format!("{rented:.0} entry-seconds, {} of all", wording::percent(rented / all))
            }
            _ => format!("{rented:.0} entry-seconds"),
        },
    );
    add("residency", &rented);
    page
}

fn protocols(parts: &[SourceNumbers]) -> Vec<PageLine> {
    let heading = format!("{:<12} {:>8} {:>8} {:>9}", "PROTOCOL", "HELD", "NEW/S", "REFUSED/S");
    let mut page = vec![PageLine::empty(), PageLine::new(Role::Heading, heading)];
    page.extend(parts.iter().map(|part| {
        let protocol = part.key.as_ref().map_or_else(|| "-".to_owned(), protocol_of);
        PageLine::plain(format!(
            "{protocol:<12} {:>8} {:>8} {:>9}",
            count(part.entries),
            rate(part.new_per_s),
            rate(part.refused_per_s)
        ))
    }));
    page
}

fn blocking(
    state: &State,
    source: &SourceView,
    sum: &SourceNumbers,
    snapshot: &Snapshot,
    width: usize,
) -> Vec<PageLine> {
    let freed = sum.entries.unwrap_or(0);
    let memory = state
        .cost
        .entry_bytes
        .map_or_else(String::new, |bytes| format!(", {}", wording::bytes(freed * bytes)));
    let mut said = format!(
        "frees {freed} entries ({} of the table{memory}) and {} new ones a second",
        share(sum.entries, snapshot.table.entries),
        rate(sum.new_per_s)
    );
    let others = snapshot.totals.refused_per_s.zip(sum.refused_per_s);
    if let Some(others) = others.map(|(all, own)| all - own).filter(|others| *others >= 0.5) {
        said += &format!("; {others:.0} packets of others are refused a second now");
    }
    let mut page = vec![PageLine::empty()];
    page.extend(sentence(width, Role::Plain, "blocking it", INDENT, &said));
    page.push(PageLine::plain(format!("{:INDENT$}ctwatch block {}", "", source.name())));
    page
}

fn connections(census: &Census) -> Vec<PageLine> {
    let mut page = Vec::new();
    let mut add = |count: u64, what: &str| page.push(PageLine::plain(format!("{count:>9} {what}")));
    for state in census.states.iter().take(LISTED) {
        add(state.entries, &format!("{} {}", state.protocol, state.state));
    }
    for to in census.destinations.iter().take(LISTED) {
        let silent = match to.unreplied {
            0 => String::new(),
            unreplied => format!(", {unreplied} without an answer"),
        };
        add(to.entries, &format!("> {}{silent}", place(&to.destination)));
    }
    for numbers in census.snat_pools.iter().take(LISTED) {
        let pool = &numbers.pool;
        let what = format!("ports of {} > {}", pool.address, place(&pool.destination));
        add(numbers.ports_used, &what);
    }
    page
}

fn place(destination: &Destination) -> String {
    let protocol = protocol::name(destination.protocol);
    match destination.port {
        Some(port) => format!("{} port {port} {protocol}", destination.address),
        None => format!("{} {protocol}", destination.address),
    }
}
