//! The schema of what is said to `advise --what-if`.

use serde_json::{Map, Value as Json, json};

use super::{common, object, schema, text};

/// The schema of the one line of `advise --what-if --json`.
pub fn what_if() -> Json {
    let count =
        |description: &str| json!({"type": "integer", "minimum": 0, "description": description});
    let mut line = common(
        "what would end now under other timeouts: the line of 'ctwatch advise --what-if --json'",
    );
    line.shift_remove("netns_name");
    line.insert(
        "entries".to_owned(),
        count("entries that the walk of the table met; expired ones are left out"),
    );
    let source = Map::from_iter([
        ("source".to_owned(), text("an address")),
        ("ends".to_owned(), count("entries of it that would have ended")),
    ]);
    let answer = Map::from_iter([
        ("timeout".to_owned(), text("the kernel's name behind net.netfilter.nf_conntrack_")),
        ("from_s".to_owned(), count("what it is")),
        ("to_s".to_owned(), count("what was asked for")),
        ("entries".to_owned(), count("entries that may have been given this timeout")),
        (
            "ends".to_owned(),
            count(
                "of those, entries that would have ended by now: what 'ctwatch apply --purge' would end",
            ),
        ),
        (
            "undecided".to_owned(),
            count(
                "of those, entries of which a listing does not tell how long they have been idle: never ended",
            ),
        ),
        (
            "entry_seconds_per_day".to_owned(),
            count(
                "entries times seconds that would not be held in a day, if the table goes on as it was found: 86400 times 'ends'",
            ),
        ),
        (
            "sources".to_owned(),
            json!({
                "type": "array",
                "items": object(source),
                "description": "whose entries would have ended, at most 20, those first that lose most",
            }),
        ),
        ("risk".to_owned(), text("who suffers when this timeout is too short")),
    ]);
    line.insert("what_if".to_owned(), json!({"type": "array", "items": object(answer)}));
    schema("ctwatch advise --what-if --json", line)
}
