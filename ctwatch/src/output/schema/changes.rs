//! The schema of what `changes --json` prints.

use serde_json::{Map, Value as Json, json};

use super::{common, object, schema, text};

/// The schema of the one line of `changes --json`.
pub fn changes() -> Json {
    let nullable =
        |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let time = |description: &str| json!({"type": ["string", "null"], "format": "date-time", "description": description});
    let strings = |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
    let mut line = common("what was ever changed: the line of 'ctwatch changes --json'");
    // A line stands for all namespaces.
    line.retain(|key, _| !key.starts_with("netns"));
    let change = Map::from_iter([
        (
            "id".to_owned(),
            json!({"type": "integer", "description": "the number of the change set"}),
        ),
        ("at".to_owned(), json!({"type": "string", "format": "date-time"})),
        ("netns".to_owned(), json!({"type": "integer", "description": "where, by inode number"})),
        ("netns_name".to_owned(), text("what the namespace was called then")),
        ("cause".to_owned(), text("the cause that was found, as in 'advise --json'")),
        ("advice".to_owned(), strings("the ids of the advice that was followed")),
        (
            "status".to_owned(),
            json!({
                "enum": [
                    "in_force", "confirmed", "persisted", "awaits_confirmation", "overdue", "cut_off", "rolled_back",
                    "overwritten", "lapsed",
                ],
                "description": "what became of it: lapsed values are as before without ctwatch's doing, as after a restart of the machine",
            }),
        ),
        ("explanation".to_owned(), text("the status in words; the wording may change")),
        (
            "values".to_owned(),
            items("the kernel's values, in the order in which they were changed"),
        ),
        ("files".to_owned(), items("the files that make them outlast a restart")),
        (
            "confirm_within_s".to_owned(),
            nullable("integer", "how long there was to confirm; null if it need not be"),
        ),
        ("confirmed_at".to_owned(), time("null if it was not")),
        ("persisted_at".to_owned(), time("null if it was not")),
        ("rolled_back_at".to_owned(), time("null if it was not")),
        ("failures".to_owned(), strings("what could not be changed, and why")),
        ("left".to_owned(), strings("what was left when it was rolled back, and why")),
        ("before".to_owned(), measured("what was seen before")),
        (
            "predicted_refused_share".to_owned(),
            nullable(
                "number",
                "the share of packets that was expected to be refused afterwards; null if nothing was",
            ),
        ),
        ("after".to_owned(), measured("what was seen afterwards; null if nobody looked")),
    ]);
    line.insert("changes".to_owned(), json!({"type": "array", "items": object(change)}));
    schema("ctwatch changes --json", line)
}

fn items(description: &str) -> Json {
    let size = |description: &str| json!({"type": ["integer", "null"], "description": description});
    let item = Map::from_iter([
        ("name".to_owned(), text("the kernel's name, or a path")),
        ("from".to_owned(), size("what it was; null for a file")),
        ("to".to_owned(), size("what it was made; null for a file")),
        (
            "state".to_owned(),
            json!({"enum": ["in_force", "restored", "overwritten", "gone", "unknown"], "description": "what it is now"}),
        ),
        (
            "now".to_owned(),
            json!({
                "type": ["string", "null"],
                "description": "what somebody else made of it, or why it is gone or cannot be read",
            }),
        ),
    ]);
    json!({"type": "array", "description": description, "items": object(item)})
}

fn measured(description: &str) -> Json {
    let number =
        |description: &str| json!({"type": ["number", "null"], "description": description});
    let mut measured = object(Map::from_iter([
        ("looked_s".to_owned(), number("how long was looked, in seconds")),
        ("entries".to_owned(), number("entries held at the end")),
        ("limit".to_owned(), number("entries that fitted; null if unlimited")),
        ("new_per_s".to_owned(), number("packets that were given an entry, a second")),
        ("refused_per_s".to_owned(), number("packets that were refused one, a second")),
        ("refused_share".to_owned(), number("refused of all that asked, from 0 to 1")),
    ]));
    if let Json::Object(object) = &mut measured {
        object.insert("description".to_owned(), json!(description));
    }
    json!({"oneOf": [measured, {"type": "null"}]})
}
