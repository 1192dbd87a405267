//! The schema of what `advise --json` prints.

use serde_json::{Map, Value as Json, json};

use super::{common, object, schema, text};

/// The schema of the one line of `advise --json`.
pub fn advise() -> Json {
    let mut line =
        common("why the table fills, and what helps: the line of 'ctwatch advise --json'");
    line.insert(
        "looked_s".to_owned(),
        json!({"type": "number", "description": "how long was looked first, in seconds"}),
    );
    line.insert(
        "degraded".to_owned(),
        json!({
            "type": "array",
            "description": "what could not be seen, and why; numbers that rest on it are left out of the evidence",
            "items": {"type": "string"},
        }),
    );
    line.insert("cause".to_owned(), cause());
    line.insert("explanation".to_owned(), text("a few sentences with the numbers"));
    line.insert("evidence".to_owned(), evidence("the numbers that the cause was concluded from"));
    line.insert(
        "advice".to_owned(),
        json!({
            "type": "array",
            "description": "in the order in which it should be done",
            "items": advice(),
        }),
    );
    let refused = Map::from_iter([
        ("rule".to_owned(), text("the rule that refuses")),
        ("why".to_owned(), text("why it does not help")),
    ]);
    line.insert(
        "refused_advice".to_owned(),
        json!({"type": "array", "description": "what would not help", "items": object(refused)}),
    );
    schema("ctwatch advise --json", line)
}

pub(super) fn cause() -> Json {
    json!({
        "enum": [
            "none", "single_source", "spoofed_flood", "lingering_state", "growth", "buckets_too_small",
            "buckets_too_large", "snat_ports", "expectations", "memory", "conntrack_not_needed",
        ],
        "description": "the one cause that explains most of what is wrong",
    })
}

fn advice() -> Json {
    let nullable =
        |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let change = Map::from_iter([
        (
            "key".to_owned(),
            text("a sysctl in dotted form, or nf_conntrack.hashsize for the buckets"),
        ),
        ("from".to_owned(), text("the value now")),
        ("to".to_owned(), text("the value that is advised")),
    ]);
    let expected = Map::from_iter([
        ("entries_freed".to_owned(), nullable("integer", "entries that end because of it")),
        (
            "memory_bytes".to_owned(),
            nullable("integer", "kernel memory that it takes at most; negative if it frees some"),
        ),
        (
            "refused_share".to_owned(),
            nullable("number", "of the packets that ask for an entry at a full table"),
        ),
        ("further".to_owned(), evidence("further predictions")),
    ]);
    object(Map::from_iter([
        ("id".to_owned(), text("the same as long as it is about the same")),
        ("rule".to_owned(), text("the rule that gave it")),
        (
            "severity".to_owned(),
            json!({"enum": ["info", "warning", "critical"], "description": "critical: connections are lost now"}),
        ),
        ("what".to_owned(), text("what to do, in one sentence")),
        ("why".to_owned(), text("why, with the numbers")),
        ("evidence".to_owned(), evidence("the numbers that it follows from")),
        (
            "changes".to_owned(),
            json!({
                "type": "array",
                "description": "what 'ctwatch apply' would write; empty if it is nothing that ctwatch does by itself",
                "items": object(change),
            }),
        ),
        (
            "unasked".to_owned(),
            json!({"type": "boolean", "description": "whether 'ctwatch apply --yes' does it without being given its id"}),
        ),
        ("expected".to_owned(), object(expected)),
        ("risk".to_owned(), text("what it costs and what can go wrong")),
        (
            "commands".to_owned(),
            json!({
                "type": "array",
                "description": "how to do it by hand: lines for a shell of root in this network namespace",
                "items": {"type": "string"},
            }),
        ),
        ("until".to_owned(), text("when it stops being true")),
    ]))
}

/// An object of numbers, each with where it comes from.
pub(super) fn evidence(description: &str) -> Json {
    let datum = Map::from_iter([
        (
            "value".to_owned(),
            json!({"type": ["number", "string"], "description": "what was found; the name ends with its unit"}),
        ),
        ("from".to_owned(), text("a file, a key of 'watch --json', or a formula")),
    ]);
    json!({"type": "object", "description": description, "additionalProperties": object(datum)})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::cause::Cause;

    #[test]
    fn every_cause_is_in_the_schema() {
        let causes = [
            Cause::None,
            Cause::SingleSource,
            Cause::SpoofedFlood,
            Cause::LingeringState,
            Cause::Growth,
            Cause::BucketsTooSmall,
            Cause::BucketsTooLarge,
            Cause::SnatPorts,
            Cause::Expectations,
            Cause::Memory,
            Cause::ConntrackNotNeeded,
        ];
        assert_eq!(cause()["enum"], json!(causes.map(Cause::name)));
    }
}
