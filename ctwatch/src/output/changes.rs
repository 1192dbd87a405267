//! What was changed, when, why, and what became of it: for a person, and as JSON (docs/changes.schema.json).

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{
    json::{SCHEMA, number, time},
    plan::effect,
};
use crate::change::{
    history::{Became, Entry, Item},
    record::Measured,
    undo::Standing,
};

const NS_PER_MS: i128 = 1_000_000;

fn at(at_ms: i64) -> String {
    time(i128::from(at_ms) * NS_PER_MS)
}

/// One JSON object, without the line's end.
pub fn json(at_ms: i64, entries: &[Entry]) -> String {
    json!({
        "schema": SCHEMA,
        "ts": at(at_ms),
        "changes": entries.iter().map(entry).collect::<Vec<Json>>(),
    })
    .to_string()
}

fn entry(entry: &Entry) -> Json {
    let set = &entry.set;
    let place = &set.began.place;
    json!({
        "id": set.id(),
        "at": at(set.began.at_ms),
        "netns": place.netns,
        "netns_name": place.netns_name,
        "cause": set.began.cause,
        "advice": set.began.advice,
        "status": entry.became.name(),
        "explanation": entry.became.words(),
        "values": entry.values.iter().map(item).collect::<Vec<Json>>(),
        "files": entry.files.iter().map(item).collect::<Vec<Json>>(),
        "confirm_within_s": set.began.deadline.map(|deadline| deadline.within_s),
        "confirmed_at": set.confirmed_at_ms.map(at),
        "persisted_at": set.persisted_at_ms.map(at),
        "rolled_back_at": set.rolled_back.as_ref().map(|back| at(back.at_ms)),
        "failures": set.failures,
        "left": set.rolled_back.as_ref().map_or(&[][..], |back| &back.left),
        "before": set.began.before.as_ref().map(measured),
        "predicted_refused_share": set.began.predicted_refused_share.map(number),
        "after": set.after.as_ref().map(measured),
    })
}

fn item(item: &Item) -> Json {
    let (state, now) = match &item.standing {
        Standing::InForce => ("in_force", None),
        Standing::Restored => ("restored", None),
        Standing::Foreign(now) => ("overwritten", Some(now)),
        Standing::Gone(why) => ("gone", Some(why)),
        Standing::Unknown(why) => ("unknown", Some(why)),
    };
    json!({
        "name": item.name,
        "from": item.from,
        "to": item.to,
        "state": state,
        "now": now,
    })
}

fn measured(measured: &Measured) -> Json {
    json!({
        "looked_s": number(measured.seconds),
        "entries": measured.entries,
        "limit": measured.limit,
        "new_per_s": measured.new_per_s.map(number),
        "refused_per_s": measured.refused_per_s.map(number),
        "refused_share": measured.refused_share.map(number),
    })
}

/// For a person, the latest first.
pub fn text(entries: &[Entry]) -> String {
    let mut text = String::new();
    if entries.is_empty() {
        text.push_str("nothing was ever changed\n");
    }
    for entry in entries.iter().rev() {
        let set = &entry.set;
        let began = &set.began;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}. {}  {}", set.id(), at(began.at_ms), entry.became.words());
        let why = format!("{}: {}", began.cause, began.advice.join(", "));
        let _ = writeln!(text, "   {why}, in network namespace {}", began.place.netns_name);
        for item in entry.values.iter().chain(&entry.files) {
            let _ = writeln!(text, "   {}", line(item));
        }
        for failure in &set.failures {
            let _ = writeln!(text, "   failed: {failure}");
        }
        let left = set.rolled_back.iter().flat_map(|back| &back.left);
        left.for_each(|left| {
            let _ = writeln!(text, "   left: {left}");
        });
        if let (Some(before), Some(after)) = (&began.before, &set.after) {
            for line in effect(before, began.predicted_refused_share, after).lines() {
                let _ = writeln!(text, "   {line}");
            }
        }
        if let Some(hint) = hint(entry) {
            let _ = writeln!(text, "   {hint}");
        }
    }
    text
}

fn line(item: &Item) -> String {
    let now = match &item.standing {
        Standing::InForce => "in force".to_owned(),
        Standing::Restored => "as before".to_owned(),
        Standing::Foreign(now) => format!("overwritten by somebody else: {now}"),
        Standing::Gone(why) => format!("gone: {why}"),
        Standing::Unknown(why) => format!("cannot be read: {why}"),
    };
    match (&item.from, &item.to) {
        (Some(from), Some(to)) => format!("{}: {from} -> {to}, {now}", item.name),
        _ => format!("{}: {now}", item.name),
    }
}

fn hint(entry: &Entry) -> Option<String> {
    let id = entry.set.id();
    match entry.became {
        Became::AwaitsConfirmation { .. } => {
            Some(format!("keep it: ctwatch confirm {id}; undo it now: ctwatch rollback {id}"))
        }
        Became::Overdue | Became::CutOff => Some(format!("undo it: ctwatch rollback {id}")),
        _ => None,
    }
}
