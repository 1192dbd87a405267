//! What would end under other timeouts, as people and programs read it.

use std::{fmt::Write as _, net::IpAddr};

use serde_json::{Value, json};

use super::json::{SCHEMA, time};
use crate::{advise::what_if::Answer, model::moment::Moment};

/// How many sources a person is shown.
const SHOWN_MAX: usize = 5;

/// One JSON object (docs/what-if.schema.json).
pub fn json(at: Moment, netns: u32, entries: u64, answers: &[Answer]) -> String {
    json!({
        "schema": SCHEMA,
        "ts": time(at.wall_ns),
        "netns": netns,
        "entries": entries,
        "what_if": answers.iter().map(answer).collect::<Vec<Value>>(),
    })
    .to_string()
}

fn answer(answer: &Answer) -> Value {
    let Answer { question, from_s, what_if, losers } = answer;
    let loser =
        |(source, ends): &(IpAddr, u64)| json!({ "source": source.to_string(), "ends": ends });
    json!({
        "timeout": question.timeout.name,
        "from_s": from_s,
        "to_s": question.seconds,
        "entries": what_if.entries,
        "ends": what_if.ends,
        "undecided": what_if.undecided,
        "entry_seconds_per_day": what_if.entry_seconds_per_day(),
        "sources": losers.iter().map(loser).collect::<Vec<Value>>(),
        "risk": question.timeout.risk,
    })
}

/// Sentences for a person.
pub fn text(entries: u64, answers: &[Answer]) -> String {
    let mut text = format!("{entries} entries\n");
    // Writing to a string cannot fail.
    for answer in answers {
        let Answer { question, from_s, what_if, losers } = answer;
        let _ = writeln!(
            text,
            "\n{}: {from_s} -> {} s\n  {} of {} entries that it governs would have ended by now",
            question.timeout.name, question.seconds, what_if.ends, what_if.entries
        );
        if what_if.undecided > 0 {
            let _ = writeln!(
                text,
                "  of {} more a listing does not tell; they may be in use, and would not be ended",
                what_if.undecided
            );
        }
        let _ = writeln!(
            text,
            "  entry-seconds saved a day if it goes on like this: {}\n  risk: {}",
            what_if.entry_seconds_per_day(),
            question.timeout.risk
        );
        for (source, ends) in losers.iter().take(SHOWN_MAX) {
            let _ = writeln!(text, "  {source} would lose {ends}");
        }
    }
    text
}
