//! The schema of what a walk of the table told, of prefixes and floods.

use serde_json::{Map, Value as Json, json};

use super::{object, properties, text};
use crate::model::fields::{Field, census as fields};

/// The keys of a destination.
fn place() -> [(&'static str, Json); 3] {
    [
        ("destination", text("an address, before translation")),
        (
            "destination_port",
            json!({"type": ["integer", "null"], "description": "null where the protocol has none"}),
        ),
        ("protocol", text("lower-case name or number")),
    ]
}

/// The key `census`.
pub(super) fn census() -> Json {
    let mut census = properties(fields::WALK);
    census.extend(properties(fields::CENSUS));
    let state = named(
        [
            ("protocol", text("lower-case name or number")),
            (
                "state",
                text(
                    "of tcp a state as the kernel names it, or 'offloaded'; else 'replied' or 'unreplied'",
                ),
            ),
        ],
        fields::STATE,
    );
    census.insert("states".to_owned(), list("entries by protocol and state", object(state)));
    let zones = list("entries by conntrack zone", object(properties(fields::ZONE)));
    census.insert("zones".to_owned(), zones);
    let destination = object(named(place(), fields::DESTINATION));
    census.insert(
        "destinations".to_owned(),
        list(
            "the destinations of most entries; with --source those of these sources alone",
            destination,
        ),
    );
    let [destination, port, protocol] = place();
    let destination = (destination.0, text("an address, after translation"));
    let address = ("address", text("what sources are translated to"));
    let mut pool = named([address, destination, port, protocol], fields::SNAT_POOL);
    let holder =
        object(named([("source", text("an address, before translation"))], fields::HOLDER));
    pool.insert("sources".to_owned(), list("who holds most of them", holder));
    census.insert(
        "snat_pools".to_owned(),
        list("source ports towards each destination, the pool with the largest part taken first; those of the \
              gateway's own connections are not in it", object(pool)),
    );
    let description = "what the last walk of the table told; null before the first. There is one at the start, \
                       under pressure at most every 10 s, and as often as --census says";
    json!({"description": description, "oneOf": [object(census), {"type": "null"}]})
}

/// The key `prefixes`.
pub(super) fn prefixes() -> Json {
    let item = object(named([("prefix", text("in CIDR form"))], fields::PREFIX));
    nullable(list(
        "prefixes (/32, /24, /16, /128, /64, /48) that hold 5 % of the table beyond what the listed ones inside them do; \
         null while it is not known what is held",
        item,
    ))
}

/// The key `floods`.
pub(super) fn floods() -> Json {
    let [destination, _, protocol] = place();
    let port = json!({
        "type": ["integer", "null"],
        "description": "null where the protocol has none, or if it goes to many ports",
    });
    let place = [destination, ("destination_port", port), protocol];
    let mut flood = named(place, fields::FLOOD);
    let share = object(named([("prefix", text("in CIDR form"))], fields::PREFIX_SHARE));
    flood.insert(
        "prefixes".to_owned(),
        list("prefixes with a tenth of its sources; empty if they come from everywhere", share),
    );
    nullable(list(
        "destinations that 1000 sources or more hold at most two entries each to, at least 90 % of them half open: their \
         addresses are probably made up, so while there is a flood sources that are only part of it are in 'others'; \
         null before the first walk of the table",
        object(flood),
    ))
}

fn list(description: &str, items: Json) -> Json {
    json!({"type": "array", "description": description, "items": items})
}

fn nullable(mut list: Json) -> Json {
    if let Some(kind) = list.get_mut("type") {
        *kind = json!(["array", "null"]);
    }
    list
}

fn named<T, const N: usize>(
    names: [(&'static str, Json); N],
    fields: &[Field<T>],
) -> Map<String, Json> {
    let mut all = Map::from_iter(names.map(|(name, schema)| (name.to_owned(), schema)));
    all.extend(properties(fields));
    all
}
