//! Finds in the JSON of `nft -j list ruleset` (libnftables-json(5)) the rules that have to do with conntrack; no program is run here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rule_use::{RuleUses, Use, maker, of_extension};

/// What a word of an nft expression or statement has to do with conntrack.
const WORDS: &[(&str, Use)] = &[
    ("masquerade", Use::TranslatesSource),
    ("snat", Use::TranslatesSource),
    ("dnat", Use::TranslatesDestination),
    ("redirect", Use::TranslatesDestination),
    ("ct count", Use::State),
    ("ct helper", Use::State),
    ("ct timeout", Use::State),
    ("ct expectation", Use::State),
    ("flow", Use::State),
    ("synproxy", Use::State),
    ("notrack", Use::Untracked),
];

/// Adds what the rules of a ruleset do.
///
/// # Errors
///
/// The text is no JSON, or not that of a ruleset; or some of it is not told. What is told has been added then.
pub fn read(ruleset: &str, uses: &mut RuleUses) -> Result<(), RulesetError> {
    let no_ruleset = RulesetError::NotARuleset;
    let ruleset: Value = serde_json::from_str(ruleset).map_err(|_| no_ruleset)?;
    let objects = ruleset.get("nftables").and_then(Value::as_array).ok_or(no_ruleset)?;
    let mut is_complete = true;
    let makers = makers(objects);
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let (family, table) = (text(rule, "family"), text(rule, "table"));
        let by = makers.get(&(family, table)).map_or(String::new(), |maker| format!(" ({maker})"));
        let who = format!("nft table {family} {table}{by}");
        let mut found = Vec::new();
        let expressions = rule.get("expr").unwrap_or(&Value::Null);
        walk(expressions, &mut found);
        is_complete &= !has_unnamed(expressions);
        found.sort_unstable();
        found.dedup();
        for (what, word) in &found {
            uses.add(&who, (*what, word));
        }
    }
    if is_complete { Ok(()) } else { Err(RulesetError::Unnamed) }
}

/// Why not all rules are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesetError {
    /// What was given is not what nft prints.
    #[error("nft printed something else than a ruleset in JSON")]
    NotARuleset,
    /// An old nft says of what iptables-nft made only that it is there.
    #[error(
        "this nft does not name the matches and targets of rules that iptables-nft made: see 'iptables-save', or install a newer nftables"
    )]
    Unnamed,
}

/// Whether a rule has a match or target of iptables that nft does not name.
fn has_unnamed(expressions: &Value) -> bool {
    let mut expressions = expressions.as_array().into_iter().flatten();
    expressions.any(|expression| {
        expression.get("xt").is_some_and(|extension| extension.get("name").is_none())
    })
}

/// Who made which table, by its name or those of its chains.
fn makers(objects: &[Value]) -> BTreeMap<(&str, &str), &'static str> {
    let named = objects.iter().filter_map(|object| {
        if let Some(table) = object.get("table") {
            let name = text(table, "name");
            return Some(((text(table, "family"), name), maker(name)?));
        }
        let chain = object.get("chain")?;
        Some(((text(chain, "family"), text(chain, "table")), maker(text(chain, "name"))?))
    });
    named.collect()
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or("?")
}

/// Finds the words anywhere in a rule: what is asked for may stand in a map or a set. The depth is bounded, as the parser of
/// the JSON takes 128 levels only.
fn walk(value: &Value, found: &mut Vec<(Use, String)>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
        Value::Object(object) => {
            for (key, value) in object {
                if let Some((word, what)) = WORDS.iter().find(|(word, _)| word == key) {
                    found.push((*what, (*word).to_owned()));
                } else if key == "ct" {
                    found.push((Use::State, format!("ct {}", text(value, "key"))));
                } else if key == "xt" {
                    // What iptables-nft made and nft has no words for. Old ones name nothing.
                    let name = text(value, "name");
                    found.extend(of_extension(name).map(|what| (what, format!("xt {name}"))));
                }
                walk(value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::advise::facts::{Need, User};

    /// nft 1.0.6, Linux 6.18.
    const RULESET: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
{"table": {"family": "inet", "name": "lab", "handle": 1}},
{"ct timeout": {"family": "inet", "name": "t", "table": "lab", "handle": 5, "protocol": "udp", "l3proto": "ip", "policy": {"unreplied": 10, "replied": 20}}},
{"set": {"family": "inet", "name": "s", "table": "lab", "type": "ipv4_addr", "handle": 7, "size": 100}},
{"chain": {"family": "inet", "table": "lab", "name": "postrouting", "handle": 1, "type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"}},
{"rule": {"family": "inet", "table": "lab", "chain": "postrouting", "handle": 8, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "x"}}, {"masquerade": null}]}},
{"rule": {"family": "inet", "table": "lab", "chain": "pre", "handle": 10, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 53}}, {"notrack": null}]}},
{"rule": {"family": "inet", "table": "lab", "chain": "forwards", "handle": 11, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "lab", "chain": "forwards", "handle": 12, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}, {"set": {"op": "add", "elem": {"payload": {"protocol": "ip", "field": "saddr"}}, "set": "@s", "stmt": [{"ct count": {"val": 20, "inv": true}}]}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "lab", "chain": "forwards", "handle": 15, "expr": [{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["invalid", {"drop": null}], ["established", {"accept": null}]]}}}]}},
{"rule": {"family": "inet", "table": "lab", "chain": "forwards", "handle": 19, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "1.2.3.4"}}, {"drop": null}]}},
{"table": {"family": "ip", "name": "nat", "handle": 3}},
{"chain": {"family": "ip", "table": "nat", "name": "DOCKER", "handle": 1}},
{"rule": {"family": "ip", "table": "nat", "chain": "POSTROUTING", "handle": 2, "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"xt": {"type": "target", "name": "MASQUERADE"}}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 2, "expr": [{"xt": {"type": "match", "name": "conntrack"}}, {"accept": null}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 3, "expr": [{"xt": null}, {"xt": {"type": "match", "name": "comment"}}]}}]}"#;

    #[test]
    fn rules_are_told_by_table_and_word() {
        let mut uses = RuleUses::default();
        assert_eq!(read(RULESET, &mut uses), Err(RulesetError::Unnamed));
        assert!(uses.translates_sources());
        assert_eq!(uses.notrack_rules(), 1);
        let user = |who: &str, why: &str, need| User { who: who.into(), why: why.into(), need };
        assert_eq!(
            uses.users(),
            [
                user(
                    "nft table inet lab",
                    "masquerade (1 rule), ct count (1 rule), ct state (3 rules)",
                    Need::Translation
                ),
                user("nft table ip nat (Docker)", "xt MASQUERADE (1 rule)", Need::Translation),
                user("nft table ip filter", "xt conntrack (1 rule)", Need::State),
            ]
        );
    }

    #[test]
    fn a_ruleset_without_conntrack_needs_none() {
        let mut uses = RuleUses::default();
        read(r#"{"nftables": [{"rule": {"expr": [{"accept": null}]}}]}"#, &mut uses).unwrap();
        assert!(!uses.translates_sources());
        assert_eq!(uses.users(), []);
    }

    #[test]
    fn what_is_no_ruleset_is_an_error() {
        for text in ["", "table inet lab {", "[]", r#"{"nftables": 1}"#] {
            let found = read(text, &mut RuleUses::default());
            assert_eq!(found, Err(RulesetError::NotARuleset), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_result(text in "\\PC*") {
            let _ = read(&text, &mut RuleUses::default());
        }
    }
}
