//! The schema of what `doctor --json` prints.

use serde_json::{Map, Value as Json, json};

use super::{advise, common, object, schema, text};
use crate::advise::examination::CHECKS;

/// The schema of the one line of `doctor --json`.
pub fn doctor() -> Json {
    let nullable =
        |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let mut line = common("what one examination found: the line of 'ctwatch doctor --json'");
    line.insert(
        "looked_s".to_owned(),
        nullable("number", "how long was looked, in seconds; null if that was not possible"),
    );
    line.insert(
        "why_no_look".to_owned(),
        nullable("string", "why nothing was looked at; null if something was"),
    );
    line.insert("cause".to_owned(), json!({"oneOf": [advise::cause(), {"type": "null"}]}));
    let sign = Map::from_iter([
        (
            "severity".to_owned(),
            json!({
                "enum": ["info", "warning", "critical", null],
                "description": "how much it matters; null if it could not be told, and the sentence says why",
            }),
        ),
        ("sentence".to_owned(), text("what was found; the wording may change")),
        ("evidence".to_owned(), advise::evidence("the numbers in the sentence")),
    ]);
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    let check = Map::from_iter([
        (
            "id".to_owned(),
            json!({"enum": ids, "description": "the check; more may come, and one with nothing to say is left out"}),
        ),
        ("what".to_owned(), text("its heading in the text")),
        ("signs".to_owned(), json!({"type": "array", "minItems": 1, "items": object(sign)})),
    ]);
    line.insert(
        "checks".to_owned(),
        json!({
            "type": "array",
            "description": "in the order in which they are told: what is wrong now, what was, what may come, what to do",
            "items": object(check),
        }),
    );
    schema("ctwatch doctor --json", line)
}
