//! What is said beside a list: why nobody is on it, what would help instead, and what could not be seen.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{
    conduct::{Conduct, FULL_MIN},
    policy::Policy,
    ruleset::element,
    window::{INTERVALS_MAX, Window},
};
use crate::{
    advise::wording::{list, percent, percent_of},
    model::{census::destinations::Destination, protocol},
};

/// So many sources that do no harm are named.
const NAMED_MAX: usize = 3;

/// Why nobody is listed, if addresses that were made up hold as much as somebody who would be.
pub(super) fn spoofed_flood(window: &Window, policy: &Policy) -> Option<String> {
    let (flood, last) = (window.flood()?, window.intervals().back()?);
    let is_much = flood.entries >= policy.entries_min
        && flood.entries as f64 >= last.room as f64 * policy.share_min;
    let Destination { address, port, protocol } = flood.destination;
    let port = port.map_or_else(String::new, |port| format!(" port {port}"));
    is_much.then(|| {
        format!(
            "nobody is listed: {} entries from about {} addresses go to {address}{port} ({}), and hardly one of these has shown to be there. \
             They are made up: blocking them would not slow the flood down, and would cut off people who have nothing to do \
             with it. Protect the destination instead: 'ctwatch advise' has the commands",
            flood.entries,
            flood.sources,
            protocol::name(protocol)
        )
    })
}

/// What the mode does not see of all that the policy asks for.
pub(super) fn of_mode(window: &Window, policy: &Policy) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(last) = window.intervals().back() else { return notes };
    if last.totals.new.is_none() && last.totals.refused.is_none() {
        notes.push(
            "it cannot be seen here who asks for entries: sources are judged by what they hold"
                .to_owned(),
        );
    }
    if last.totals.refused.is_none() && policy.harm_min > 0 {
        notes.push(format!(
            "it cannot be seen here who is refused: a table that is {} full is taken to refuse somebody",
            percent(FULL_MIN)
        ));
    }
    notes
}

/// Why nobody stands out.
pub(super) fn nobody(
    window: &Window,
    policy: &Policy,
    harmless: &BTreeMap<IpNet, Conduct>,
    most: Option<(IpNet, u64)>,
) -> String {
    let (seen, needed) = (window.intervals().len(), policy.intervals_min);
    if seen < needed {
        let longer = if needed > INTERVALS_MAX { "" } else { ": look for longer with --for" };
        return format!(
            "nobody is listed: {seen} intervals were seen, and a source is listed after {needed}{longer}"
        );
    }
    if !harmless.is_empty() {
        let mut named: Vec<String> = harmless
            .iter()
            .take(NAMED_MAX)
            .map(|(network, conduct)| format!("{} ({})", element(network), conduct.text()))
            .collect();
        if harmless.len() > NAMED_MAX {
            named.push(format!("{} more", harmless.len() - NAMED_MAX));
        }
        return format!(
            "nobody is listed: {} would be, but that has harmed others too little (--harm 0 asks for none)",
            list(&named)
        );
    }
    match (most, window.intervals().back()) {
        (Some((network, entries)), Some(last)) => format!(
            "nobody is listed: no source stands out; the one that holds most, {}, has {entries} entries ({} of the table)",
            element(&network),
            percent_of(entries, last.room)
        ),
        _ => "nobody is listed: it is not known who holds anything".to_owned(),
    }
}

/// Why a culprit is left out of a full list.
pub(super) fn too_many_blocks(policy: &Policy) -> String {
    format!(
        "it stands out less than the {} that are listed, the most there may be (--max-blocks)",
        policy.blocks_max
    )
}

/// Why a culprit is left out of a list that would hit too many.
pub(super) fn too_many_sources(inside: usize, known: usize, policy: &Policy) -> String {
    let it = if inside == 1 { "it is one".to_owned() } else { format!("it has {inside}") };
    format!(
        "{it} of the {known} sources that were seen, and with those listed that is more than {} (--max-share)",
        percent(policy.sources_share_max)
    )
}
