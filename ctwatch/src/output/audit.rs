//! What an audit found, as text for a person and as one JSON object.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{
    json::{SCHEMA, time},
    wrap::wrap,
};
use crate::model::{
    audit::{Identity, all_hold},
    snapshot::Snapshot,
};

/// What belongs to an identity stands under it, this far in.
const INDENT: usize = 14;

/// One line of `audit --json`, without the line's end.
pub fn json(last: &Snapshot, identities: &[Identity]) -> String {
    let identity = |identity: &Identity| {
        let sides = identity.sides.as_ref().ok();
        json!({
            "id": identity.id,
            "what": identity.what,
            "left": sides.map(|sides| sides.left),
            "right": sides.map(|sides| sides.right),
            "difference": sides.map(|sides| sides.difference()),
            "holds": identity.holds(),
            "note": note(identity),
        })
    };
    let holds = all_hold(identities);
    let identities: Vec<Json> = identities.iter().map(identity).collect();
    json!({
        "schema": SCHEMA,
        "ts": time(last.wall_ns),
        "netns": last.netns,
        "netns_name": last.netns_name.as_deref(),
        "holds": holds,
        "identities": identities,
    })
    .to_string()
}

/// A line and what it means for each identity; each line ends with a newline.
pub fn text(last: &Snapshot, identities: &[Identity]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}  hooks: {}", time(last.wall_ns), last.mode.alloc.name());
    let _ = writeln!(
        text,
        "{:<13} {:<18} {:>14} {:>14} {:>12}",
        "HOLDS", "IDENTITY", "LEFT", "RIGHT", "DIFFERENCE"
    );
    let mut said = None;
    for identity in identities {
        let holds = match identity.holds() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "not checked",
        };
        let [left, right, difference] = match &identity.sides {
            Ok(sides) => {
                [sides.left, sides.right, sides.difference()].map(|number| number.to_string())
            }
            Err(_) => ["-"; 3].map(str::to_owned),
        };
        let _ = writeln!(
            text,
            "{holds:<13} {:<18} {left:>14} {right:>14} {difference:>12}",
            identity.id
        );
        wrap(&mut text, "", INDENT, identity.what);
        // One reason often stands for many: it is said once.
        let note = note(identity);
        if let Some(note) = note.filter(|_| note != said) {
            wrap(&mut text, "", INDENT, note);
            said = Some(note);
        }
    }
    text
}

fn note(identity: &Identity) -> Option<&str> {
    match &identity.sides {
        Ok(sides) => sides.note.as_deref(),
        Err(why) => Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::audit::Sides,
        output::{sample, wrap::WIDTH},
    };

    fn identities() -> Vec<Identity> {
        let checked = |id, what, left, right, note| Identity {
            id,
            what,
            sides: Ok(Sides { left, right, note }),
        };
        let held = "held before the start + new - ended = nf_conntrack_count";
        let why = "it takes hooks on conntrack: this kernel has no kprobes (CONFIG_KPROBES)";
        vec![
            checked("held", held, 4096, 4096, None),
            checked("evicted", "entries evicted = kernel's early_drop", 7, 9, None),
            Identity { id: "events", what: "events = refused", sides: Err(why.to_owned()) },
        ]
    }

    #[test]
    fn an_audit_reads_as_a_table_of_eighty_columns() {
        let text = text(&sample::snapshot(), &identities());
        assert_eq!(
            text,
            "\
2026-11-23T14:00:00.000Z  hooks: kprobe
HOLDS         IDENTITY                     LEFT          RIGHT   DIFFERENCE
yes           held                         4096           4096            0
              held before the start + new - ended = nf_conntrack_count
NO            evicted                         7              9           -2
              entries evicted = kernel's early_drop
not checked   events                          -              -            -
              events = refused
              it takes hooks on conntrack: this kernel has no kprobes
              (CONFIG_KPROBES)
"
        );
        assert!(text.lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn an_audit_is_one_object() {
        let line = json(&sample::snapshot(), &identities());
        let object: Json = serde_json::from_str(&line).unwrap();
        assert_eq!((&object["schema"], &object["holds"]), (&json!(1), &json!(false)));
        let [held, evicted, events] = object["identities"].as_array().unwrap().as_slice() else {
            panic!("{object}")
        };
        assert_eq!((&held["holds"], &held["difference"]), (&json!(true), &json!(0)));
        assert_eq!((&evicted["holds"], &evicted["difference"]), (&json!(false), &json!(-2)));
        assert_eq!((&events["holds"], &events["left"]), (&Json::Null, &Json::Null));
        assert!(events["note"].as_str().is_some_and(|note| note.contains("CONFIG_KPROBES")));
    }
}
