//! What is blocked, as `nft -j list table inet ctwatch` tells it (libnftables-json(5)): nothing is believed to be as ctwatch
//! made it, as everybody may change the table.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::caps::Caps;
use crate::blocklist::{
    note::Note,
    ruleset::{self, Set},
};

/// One source that is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Who: an address, or a network.
    pub network: IpNet,
    /// How much longer, in whole seconds; `None` if for ever, which ctwatch never does.
    pub left_s: Option<u64>,
    /// Since when, by whom and why; `None` if that is not written beside it.
    pub note: Option<Note>,
    /// Packets and bytes that were dropped; `None` if they are not counted.
    pub dropped: Option<Dropped>,
}

/// What a counter of nf_tables tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What the table is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Whether there is the table.
    pub has_table: bool,
    /// Who is blocked, in the order of the addresses.
    pub blocks: Vec<Blocked>,
    /// The chain that drops.
    pub chain: Chain,
    /// What keeps blocks from working, or is somebody else's in our sets: sentences.
    pub problems: Vec<String>,
    /// Sets that have the name of one of ours and are something else.
    pub foreign_sets: Vec<&'static str>,
    /// What is in the table besides rules: kind and name.
    pub objects: BTreeSet<(String, String)>,
    /// Who is capped.
    pub caps: Caps,
}

/// The chain that drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chain {
    /// There is none.
    #[default]
    Missing,
    /// As it should be.
    Right,
    /// Its rules are others: they can be made anew.
    OtherRules,
    /// It is called from elsewhere: it must go before it can be made anew.
    OtherHook,
}

/// What was given is not what nft prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nft printed something else than a table in JSON")]
pub struct NotATable;

impl Listing {
    /// Reads what nft has printed.
    ///
    /// # Errors
    ///
    /// It is no JSON, or not that of a table.
    pub fn parse(text: &str) -> Result<Self, NotATable> {
        let printed: Value = serde_json::from_str(text).map_err(|_| NotATable)?;
        let objects = printed.get("nftables").and_then(Value::as_array).ok_or(NotATable)?;
        let mut listing = Self::default();
        let mut rules: Vec<&Value> = Vec::new();
        listing.caps = Caps::read(objects);
        for (kind, object) in objects.iter().filter_map(Value::as_object).flatten() {
            match kind.as_str() {
                "metainfo" | "element" => {}
                "table" => listing.add_table(object),
                "rule" if is_ours(object, "chain") => rules.push(object),
                "rule" => {}
                _ => {
                    let name = text_of(object, "name").to_owned();
                    listing.objects.insert((kind.clone(), name));
                    match kind.as_str() {
                        "set" => listing.add_set(object),
                        "chain" if is_ours(object, "name") => {
                            listing.chain = hooked(object, ruleset::PRIORITY);
                        }
                        _ => {}
                    }
                }
            }
        }
        if listing.chain == Chain::Right && !are_ours(&rules) {
            listing.chain = Chain::OtherRules;
        }
        listing.blocks.sort_by_key(|block| block.network);
        listing.judge();
        Ok(listing)
    }

    /// Whether there is a set or chain.
    pub fn has(&self, kind: &str, name: &str) -> bool {
        self.objects.contains(&(kind.to_owned(), name.to_owned()))
    }

    fn add_table(&mut self, table: &Value) {
        self.has_table = true;
        let is_dormant = table.get("flags").is_some_and(|flags| match flags {
            Value::String(flag) => flag == "dormant",
            Value::Array(flags) => flags.iter().any(|flag| flag == "dormant"),
            // nft 1.0.6 prints the one flag as a number without meaning.
            _ => true,
        });
        if is_dormant {
            self.problems.push(
                "the table inet ctwatch is dormant, so nothing is dropped; the next 'ctwatch block' wakes it"
                    .to_owned(),
            );
        }
    }

    fn add_set(&mut self, object: &Value) {
        let name = text_of(object, "name");
        let Some(set) = Set::ALL.into_iter().find(|set| set.name() == name) else { return };
        let flags = object.get("flags").and_then(Value::as_array);
        let has = |flag: &&str| flags.is_some_and(|flags| flags.iter().any(|each| each == flag));
        let is_interval = has(&"interval") == set.flags().contains(&"interval");
        if text_of(object, "type") != set.element_type()
            || !is_interval
            || !set.flags().iter().all(has)
        {
            self.foreign_sets.push(set.name());
            return;
        }
        for (inner, value) in elements(object) {
            match network(value) {
                Some(network) => self.blocks.push(blocked(set.source(network), inner)),
                None => self
                    .problems
                    .push(format!("the set {name} has an element that is not ctwatch's: {value}")),
            }
        }
    }

    fn judge(&mut self) {
        self.problems.append(&mut self.caps.problems());
        for name in &self.foreign_sets {
            self.problems.push(format!(
                "the set {name} of the table inet ctwatch is not as ctwatch makes it: nothing is blocked by it"
            ));
        }
        let what = match self.chain {
            Chain::Missing if !self.blocks.is_empty() => "is missing",
            Chain::OtherRules => "has other rules than ctwatch gives it",
            Chain::OtherHook => "is not called where ctwatch has it called",
            Chain::Missing | Chain::Right => return,
        };
        self.problems.push(format!(
            "the chain block of the table inet ctwatch {what}: blocks may not hold; the next 'ctwatch block' makes it anew"
        ));
    }
}

pub(super) fn text_of<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_ours(object: &Value, key: &str) -> bool {
    text_of(object, key) == ruleset::CHAIN
}

/// Whether a chain is called at this priority, as all of ctwatch's are.
pub(super) fn hooked(chain: &Value, priority: i32) -> Chain {
    let is_right = text_of(chain, "type") == "filter"
        && text_of(chain, "hook") == "prerouting"
        && chain.get("prio").and_then(Value::as_i64) == Some(i64::from(priority))
        && text_of(chain, "policy") == "accept";
    if is_right { Chain::Right } else { Chain::OtherHook }
}

/// Whether these are the rules of [`ruleset::chain`], whatever they have counted.
fn are_ours(rules: &[&Value]) -> bool {
    rules.len() == Set::ALL.len()
        && rules.iter().zip(Set::ALL).all(|(rule, set)| is_rule_of(rule, set))
}

fn is_rule_of(rule: &Value, set: Set) -> bool {
    let field = set.looked_up_json();
    let wanted = json!({"match": {"op": "==", "left": field, "right": format!("@{}", set.name())}});
    let Some([found, counter, drop]) =
        rule.get("expr").and_then(Value::as_array).map(Vec::as_slice)
    else {
        return false;
    };
    *found == wanted && counter.get("counter").is_some() && *drop == json!({"drop": null})
}

/// What a set has: each element, and its value.
pub(super) fn elements(set: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    set.get("elem").and_then(Value::as_array).into_iter().flatten().map(|element| {
        let inner = element.get("elem").unwrap_or(element);
        (inner, inner.get("val").unwrap_or(inner))
    })
}

/// `"10.0.1.66"` or `{"prefix": {"addr": "10.0.2.0", "len": 24}}`.
pub(super) fn network(value: &Value) -> Option<IpNet> {
    if let Some(address) = value.as_str() {
        return address.parse().map(|address: std::net::IpAddr| address.into()).ok();
    }
    let prefix = value.get("prefix")?;
    let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
    IpNet::new(text_of(prefix, "addr").parse().ok()?, length).ok()
}

/// What a counter beside an element, or in a rule, has counted.
pub(super) fn dropped(counted: &Value) -> Option<Dropped> {
    let counter = counted.get("counter")?;
    let number = |key| counter.get(key).and_then(Value::as_u64);
    Some(Dropped { packets: number("packets")?, bytes: number("bytes")? })
}

fn blocked(network: IpNet, element: &Value) -> Blocked {
    Blocked {
        network,
        left_s: element.get("expires").and_then(Value::as_u64),
        note: Note::parse(text_of(element, "comment")),
        dropped: dropped(element),
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
