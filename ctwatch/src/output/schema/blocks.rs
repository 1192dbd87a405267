//! The schema of what `blocks --json`, `block --json` and `cap --json` print.

use serde_json::{Map, Value as Json, json};

use super::{common, object, schema, text};

/// The schema of the one line of `blocks --json`.
pub fn blocks() -> Json {
    let nullable =
        |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let time = |description: &str| json!({"type": ["string", "null"], "format": "date-time", "description": description});
    let mut line = common(
        "who is blocked or capped: the line of 'ctwatch blocks --json'; of 'ctwatch block --json' and 'ctwatch cap --json' only those who were named",
    );
    let block = Map::from_iter([
        ("source".to_owned(), text("an address, or a network in CIDR form")),
        ("since".to_owned(), time("null if ctwatch did not block it")),
        ("until".to_owned(), time("to the second; null if for ever, which ctwatch does not do")),
        ("left_s".to_owned(), nullable("integer", "seconds until then")),
        (
            "by".to_owned(),
            nullable("string", "the user who did it last; null if it was not ctwatch"),
        ),
        ("why".to_owned(), nullable("string", "null if nothing was said")),
        (
            "dropped_packets".to_owned(),
            nullable("integer", "packets dropped since; null if they are not counted"),
        ),
        ("dropped_bytes".to_owned(), nullable("integer", "their bytes")),
        (
            "ended_entries".to_owned(),
            nullable(
                "integer",
                "entries that were ended; null if they were kept, or it is not known",
            ),
        ),
        (
            "together".to_owned(),
            nullable(
                "integer",
                "how many sources were blocked by the same call: ended_entries, before and after are of all of them; null if not known",
            ),
        ),
        ("before".to_owned(), seen("what was seen right before; null if nobody looked")),
        ("after".to_owned(), seen("what was seen right after; null if nobody looked")),
        (
            "has_effect".to_owned(),
            nullable(
                "boolean",
                "false if nothing was dropped or freed, or others are refused as often as before; null if it is not known",
            ),
        ),
        (
            "explanation".to_owned(),
            nullable("string", "why it is without effect, and what to do; the wording may change"),
        ),
    ]);
    let cap = Map::from_iter([
        ("source".to_owned(), text("an address, or a network in CIDR form")),
        (
            "entries_max".to_owned(),
            json!({"type": "integer", "description": "how many it may hold of the entries that it has made since"}),
        ),
        ("since".to_owned(), time("null if ctwatch did not cap it")),
        ("until".to_owned(), time("to the second; null if for ever, which ctwatch does not do")),
        ("left_s".to_owned(), nullable("integer", "seconds until then")),
        (
            "by".to_owned(),
            nullable("string", "the user who did it last; null if it was not ctwatch"),
        ),
        ("why".to_owned(), nullable("string", "null if nothing was said")),
        (
            "dropped_packets".to_owned(),
            json!({"type": "integer", "description": "packets beyond the cap, dropped since"}),
        ),
        ("dropped_bytes".to_owned(), json!({"type": "integer", "description": "their bytes"})),
    ]);
    line.insert("blocks".to_owned(), json!({"type": "array", "items": object(block)}));
    line.insert("caps".to_owned(), json!({"type": "array", "items": object(cap)}));
    line.insert(
        "problems".to_owned(),
        json!({
            "type": "array",
            "items": {"type": "string"},
            "description": "what keeps blocks or caps from working, or is somebody else's in their sets",
        }),
    );
    schema("ctwatch blocks --json", line)
}

fn seen(description: &str) -> Json {
    let number =
        |description: &str| json!({"type": ["number", "null"], "description": description});
    let mut seen = object(Map::from_iter([
        ("looked_s".to_owned(), number("how long was looked, in seconds")),
        (
            "refused_of_others_per_s".to_owned(),
            number(
                "packets of all others that were refused, a second; null where that cannot be seen",
            ),
        ),
        (
            "entries_of_sources".to_owned(),
            number(
                "entries that the blocked sources held at the end; null where that is not known",
            ),
        ),
        ("entries".to_owned(), number("entries of all at the end")),
        ("limit".to_owned(), number("entries that fitted; null if unlimited")),
    ]));
    if let Json::Object(object) = &mut seen {
        object.insert("description".to_owned(), json!(description));
    }
    json!({"oneOf": [seen, {"type": "null"}]})
}
