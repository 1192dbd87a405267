//! The schema of `events --json`.

use serde_json::{Value as Json, json};

use super::{common, object, schema, text};
use crate::model::event::{EventKind, Kind};

/// The schema of one line of `events --json`: an event, or what was told of them.
pub fn events() -> Json {
    let title = "ctwatch events --json";
    let mut either = schema(title, serde_json::Map::new());
    let lines = ["an event", "what was told so far, at the end and while it grows"];
    let lines = lines.into_iter().zip([event(), summary()]).map(|(title, properties)| {
        let mut line = object(properties);
        if let Some(line) = line.as_object_mut() {
            line.insert("title".to_owned(), title.into());
        }
        line
    });
    let lines = lines.collect();
    if let Some(either) = either.as_object_mut() {
        either.insert("oneOf".to_owned(), lines);
        either.shift_remove("required");
        either.shift_remove("properties");
    }
    either
}

fn event() -> serde_json::Map<String, Json> {
    let nullable =
        |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let mut line = common(
        "something that happened, and 'suppressed' more of its kind: a line of 'ctwatch events --json'",
    );
    let names: Vec<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
    line.insert("kind".to_owned(), json!({"enum": names}));
    let reasons = EventKind::ALL.into_iter().filter_map(EventKind::reason);
    let mut reasons: Vec<Option<&str>> = reasons.map(Some).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.push(None);
    line.insert(
        "reason".to_owned(),
        json!({"enum": reasons, "description": "why; null if that is not known"}),
    );
    let source = "an address, the prefix or network that it is counted under, or 'other'";
    line.insert("source".to_owned(), text(source));
    let port = "null where the protocol has none or the packet is not known";
    line.insert("source_port".to_owned(), nullable("integer", port));
    let destination =
        "before translation; null on a line that stands for suppressed ones alone, and of blocks";
    line.insert("destination".to_owned(), nullable("string", destination));
    line.insert("destination_port".to_owned(), nullable("integer", "as source_port"));
    line.insert("protocol".to_owned(), text("lower-case name or number; 'any' for all of them"));
    let suppressed = "further ones of this kind and source since its last line";
    line.insert(
        "suppressed".to_owned(),
        json!({"type": "integer", "minimum": 0, "description": suppressed}),
    );
    for (name, kind, description) in [
        ("requester", "string", "of an eviction: whose packet the entry had to make room for"),
        ("requester_protocol", "string", "the protocol of that packet"),
        ("process", "string", "of a deletion: what the kernel calls the process that did it"),
        ("pid", "integer", "its number"),
        ("by", "string", "of a block or cap: who did it, as far as that is written beside it"),
        ("why", "string", "of a block or cap: why, as far as that is written beside it"),
        ("entries_max", "integer", "of a cap: how many entries the source may hold"),
        (
            "dropped_packets",
            "integer",
            "of a block or cap: packets dropped since, when its rules were last read",
        ),
    ] {
        line.insert(name.to_owned(), nullable(kind, description));
    }
    let until = "of a block or cap: until when";
    let until = json!({"type": ["string", "null"], "format": "date-time", "description": until});
    // In the order of the line.
    let place = line.keys().position(|name| name == "entries_max").unwrap_or(line.len());
    line.shift_insert(place, "until".to_owned(), until);
    line
}

fn summary() -> serde_json::Map<String, Json> {
    let count =
        |description: &str| json!({"type": "integer", "minimum": 0, "description": description});
    let mut line = common("what was told of events so far: a line of 'ctwatch events --json'");
    line.insert("kind".to_owned(), json!({"const": "summary"}));
    for kind in Kind::ALL {
        let numbers = serde_json::Map::from_iter([
            ("events".to_owned(), count("lines")),
            ("suppressed".to_owned(), count("what they stand for besides themselves")),
            ("lost".to_owned(), count("events that found the ring buffer full, of all sources")),
        ]);
        let unknown = json!({"type": "null", "description": "not asked for, or it cannot be seen"});
        line.insert(kind.name().to_owned(), json!({"oneOf": [object(numbers), unknown]}));
    }
    let dropped = "events of any kind that were too many for one interval";
    line.insert("events_dropped".to_owned(), count(dropped));
    let unknown = "with --port: packets or entries of which only the number is known";
    line.insert("port_unknown".to_owned(), count(unknown));
    line
}
