//! The JSON schema of what the commands print, made from the same field tables as the output itself.

mod advise;
mod blocks;
mod census;
mod changes;
mod doctor;
mod events;
mod what_if;

use serde_json::{Map, Value as Json, json};

use crate::model::fields::{self, Field};

pub use advise::advise;
pub use blocks::blocks;
pub use changes::changes;
pub use doctor::doctor;
pub use events::events;
pub use what_if::what_if;

/// The schema of one line of `watch --json`.
pub fn watch() -> Json {
    let source = |named: &[(&str, Json)]| {
        let mut properties = properties(fields::SOURCE);
        for (name, schema) in named.iter().rev() {
            properties.shift_insert(0, (*name).to_owned(), schema.clone());
        }
        object(properties)
    };
    let mut line =
        common("one interval of one network namespace: a line of 'ctwatch watch --json'");
    line.insert(
        "interval_s".to_owned(),
        json!({"type": "number", "description": "length of the interval"}),
    );
    line.insert("table".to_owned(), object(properties(fields::TABLE)));
    line.insert("totals".to_owned(), source(&[]));
    let named = [
        (
            "source",
            text("an address, a prefix where there was no room for the address, or 'other'"),
        ),
        ("protocol", text("lower-case name or number; 'any' for the source 'other'")),
    ];
    line.insert("sources".to_owned(), json!({"type": "array", "items": source(&named)}));
    line.insert("others".to_owned(), source(&[]));
    line.insert("prefixes".to_owned(), census::prefixes());
    line.insert("floods".to_owned(), census::floods());
    line.insert("census".to_owned(), census::census());
    line.insert("kernel".to_owned(), object(properties(fields::KERNEL)));
    line.insert(
        "drift_entries".to_owned(),
        json!({
            "type": ["integer", "null"],
            "description": "how far the sum over the sources is from nf_conntrack_count, beyond what changed while reading",
        }),
    );
    let witness = json!({"oneOf": [object(properties(fields::WITNESS)), {"type": "null"}]});
    line.insert("witness".to_owned(), witness);
    line.insert("loss".to_owned(), object(properties(fields::LOSS)));
    let rung = || json!({"enum": ["fexit", "kprobe", "tp_btf", "netlink", "none"]});
    let mode = Map::from_iter([
        ("alloc".to_owned(), rung()),
        ("early_drop".to_owned(), rung()),
        ("free".to_owned(), rung()),
        ("gc".to_owned(), rung()),
        ("deletion".to_owned(), rung()),
        ("confirm".to_owned(), rung()),
        (
            "confirm_since".to_owned(),
            json!({
                "type": ["string", "null"],
                "format": "date-time",
                "description": "since when entries that cannot be inserted are counted by source; null until the kernel has counted one",
            }),
        ),
        ("degraded".to_owned(), json!({"type": "array", "items": {"type": "string"}})),
        ("why_not_higher".to_owned(), json!({"type": "array", "items": {"type": "string"}})),
        (
            "attached_at".to_owned(),
            json!({
                "type": ["string", "null"],
                "format": "date-time",
                "description": "since when is counted: counters begin at 0 there, also after conntrack was unloaded and loaded again",
            }),
        ),
        (
            "pins_module".to_owned(),
            json!({
                "type": ["string", "null"],
                "description": "that conntrack cannot be unloaded meanwhile, and what to do about it; null where it can",
            }),
        ),
    ]);
    line.insert("mode".to_owned(), object(mode));
    schema("ctwatch watch --json", line)
}

/// The schema of the one line of `audit --json`.
pub fn audit() -> Json {
    let nullable =
        |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let mut line = common("what one audit found: the line of 'ctwatch audit --json'");
    let holds = "whether all identities hold that could be checked; null if none could";
    line.insert("holds".to_owned(), nullable("boolean", holds));
    let identity = Map::from_iter([
        ("id".to_owned(), text("its stable name")),
        ("what".to_owned(), text("both sides in words")),
        ("left".to_owned(), nullable("integer", "the left side; null if it could not be checked")),
        (
            "right".to_owned(),
            nullable("integer", "the right side; null if it could not be checked"),
        ),
        (
            "difference".to_owned(),
            nullable("integer", "left less right, beyond what changed while they were read"),
        ),
        (
            "holds".to_owned(),
            nullable("boolean", "whether it holds; null if it could not be checked"),
        ),
        (
            "note".to_owned(),
            nullable("string", "what to know about it, or why it could not be checked"),
        ),
    ]);
    line.insert("identities".to_owned(), json!({"type": "array", "items": object(identity)}));
    schema("ctwatch audit --json", line)
}

fn schema(title: &str, properties: Map<String, Json>) -> Json {
    let required: Vec<&String> = properties.keys().collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "required": required,
        "properties": properties,
    })
}

fn common(what: &str) -> Map<String, Json> {
    Map::from_iter([
        ("schema".to_owned(), json!({"const": 1, "description": what})),
        (
            "ts".to_owned(),
            json!({"type": "string", "format": "date-time", "description": "RFC 3339, UTC, to the millisecond"}),
        ),
        (
            "netns".to_owned(),
            json!({"type": "integer", "description": "the network namespace, by inode number"}),
        ),
        (
            "netns_name".to_owned(),
            json!({
                "type": ["string", "null"],
                "description": "its name, or the process with the lowest number in it as 'pid N (COMM)'; null if neither is known",
            }),
        ),
    ])
}

fn text(description: &str) -> Json {
    json!({"type": "string", "description": description})
}

fn properties<T>(fields: &[Field<T>]) -> Map<String, Json> {
    let property = |field: &Field<T>| {
        let description = format!("{}; in {}", field.help, field.unit);
        (field.name.to_owned(), json!({"type": ["number", "null"], "description": description}))
    };
    fields.iter().map(property).collect()
}

/// Every key is always there; more may come within one version of the schema.
fn object(properties: Map<String, Json>) -> Json {
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        advise::what_if::{Answer, WhatIf},
        model::{
            audit::{Identity, Sides},
            moment::Moment,
        },
        output::{self, json, sample},
    };

    /// Set to rewrite the files instead of comparing them.
    const UPDATE: &str = "CTWATCH_UPDATE_DOCS";

    /// The keys of an object as the schema has them, and of what lies in it.
    fn assert_keys(schema: &Json, line: &Json, at: &str) {
        let keys = |object: &Json| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&schema["properties"]), keys(line), "{at}");
        for (name, property) in schema["properties"].as_object().unwrap() {
            let at = format!("{at}.{name}");
            let nullable = &property["oneOf"][0];
            let property = if nullable.is_null() { property } else { nullable };
            let items = &property["items"];
            match &line[name] {
                Json::Object(values) if property["additionalProperties"].is_object() => {
                    let value = values.values().next().expect(&at);
                    assert_keys(&property["additionalProperties"], value, &at);
                }
                Json::Object(_) if property["type"] == "object" => {
                    assert_keys(property, &line[name], &at);
                }
                Json::Array(values) if items["type"] == "object" => {
                    assert_keys(items, values.first().expect(&at), &at);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_line_has_the_keys_of_its_schema_in_their_order() {
        let line: Json = serde_json::from_str(&json::snapshot(&sample::snapshot())).unwrap();
        assert_keys(&watch(), &line, "watch");
        let line = json::event(&sample::event(), Some("gateway"));
        assert_keys(&events()["oneOf"][0], &serde_json::from_str(&line).unwrap(), "events");
        let line = json::told(&sample::told());
        assert_keys(&events()["oneOf"][1], &serde_json::from_str(&line).unwrap(), "summary");
        let identity =
            Identity { id: "held", what: "", sides: Ok(Sides { left: 1, right: 1, note: None }) };
        let line = output::audit::json(&sample::snapshot(), &[identity]);
        assert_keys(&audit(), &serde_json::from_str(&line).unwrap(), "audit");
        let answer = Answer {
            question: "udp_timeout=10".parse().unwrap(),
            from_s: 30,
            what_if: WhatIf { entries: 3, ends: 2, undecided: 1 },
            losers: vec![("10.0.1.2".parse().unwrap(), 2)],
        };
        let at = Moment { monotonic_ns: 0, wall_ns: 0 };
        let line = output::what_if::json(at, 1, 3, std::slice::from_ref(&answer));
        assert_keys(&what_if(), &serde_json::from_str(&line).unwrap(), "what-if");
        let mut diagnosis = output::advice::sample::diagnosis();
        // First the one that has everything in it.
        diagnosis.advice.reverse();
        let line = output::advice::json(&output::advice::sample::case(), &diagnosis);
        assert_keys(&advise(), &serde_json::from_str(&line).unwrap(), "advise");
        let line = output::doctor::json(&output::doctor::sample::report());
        assert_keys(&doctor(), &serde_json::from_str(&line).unwrap(), "doctor");
        let line = output::changes::json(0, &[output::changes::sample::entry()]);
        assert_keys(&changes(), &serde_json::from_str(&line).unwrap(), "changes");
        let line = output::blocks::json(&output::blocks::sample::report());
        assert_keys(&blocks(), &serde_json::from_str(&line).unwrap(), "blocks");
    }

    #[test]
    fn the_schemas_in_docs_are_current() {
        let schemas = [
            ("watch", watch()),
            ("events", events()),
            ("audit", audit()),
            ("advise", advise()),
            ("doctor", doctor()),
            ("what-if", what_if()),
            ("changes", changes()),
            ("blocks", blocks()),
        ];
        for (name, schema) in schemas {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{name}.schema.json"));
            let current = format!("{schema:#}\n");
            if std::env::var_os(UPDATE).is_some() {
                fs::write(&path, &current).unwrap();
            }
            let written = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                written,
                current,
                "run the tests with {UPDATE}=1 and commit {}",
                path.display()
            );
        }
    }
}
