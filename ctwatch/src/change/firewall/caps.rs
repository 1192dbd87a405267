//! Who is capped, as `nft -j list table inet ctwatch` tells it. A cap holds while its set has its source, its rule counts, and the
//! chain is called; whatever is left of one whose time is over, or whose rule somebody has taken away, is a remnant.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::listing::{Chain, Dropped, dropped, elements, hooked, network, text_of};
use crate::blocklist::{
    cap_ruleset::{self, CHAIN, source_of},
    note::Note,
    ruleset::element,
};

/// One source, or a network as a whole, that may make so many entries and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped {
    /// Who.
    pub network: IpNet,
    /// How many entries it may hold of those that it has made since.
    pub entries_max: u32,
    /// How much longer, in whole seconds; `None` if for ever, which ctwatch never does.
    pub left_s: Option<u64>,
    /// Since when, by whom and why; `None` if that is not written beside it.
    pub note: Option<Note>,
    /// Packets and bytes beyond the cap, which were dropped.
    pub dropped: Dropped,
    /// The number of its rule.
    pub handle: u64,
}

/// All that is there of caps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Who is capped, in the order of the addresses.
    pub held: Vec<Capped>,
    /// Sets of caps that do not hold any more.
    pub remnants: BTreeSet<String>,
    /// Rules, by number, that look into sets of caps that do not hold any more.
    pub remnant_rules: Vec<u64>,
    /// The chain that caps.
    pub chain: Chain,
    /// Sources that are in the set of a cap without a rule.
    pub without_rule: Vec<IpNet>,
    /// Sets that have the name of a cap's and are something else.
    pub foreign_sets: Vec<String>,
}

struct Rule {
    entries_max: u32,
    dropped: Dropped,
    handle: u64,
}

impl Caps {
    /// Reads the objects of a table.
    pub fn read(objects: &[Value]) -> Self {
        let of = |kind: &'static str| objects.iter().filter_map(move |object| object.get(kind));
        let mut caps = Self::default();
        if let Some(chain) = of("chain").find(|chain| text_of(chain, "name") == CHAIN) {
            caps.chain = hooked(chain, cap_ruleset::PRIORITY);
        }
        let mut rules: BTreeMap<IpNet, Rule> = BTreeMap::new();
        for object in of("rule").filter(|rule| text_of(rule, "chain") == CHAIN) {
            let read = rule(object);
            match read {
                Some((network, rule)) if !rules.contains_key(&network) => {
                    rules.insert(network, rule);
                }
                _ if caps.chain == Chain::Right => caps.chain = Chain::OtherRules,
                _ => {}
            }
        }
        for set in of("set") {
            let Some(network) = source_of(text_of(set, "name")) else { continue };
            caps.add_set(set, network, rules.remove(&network));
        }
        caps.held.sort_by_key(|cap| cap.network);
        caps
    }

    fn add_set(&mut self, set: &Value, network: IpNet, rule: Option<Rule>) {
        let name = text_of(set, "name").to_owned();
        let flags: BTreeSet<&str> = set
            .get("flags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let wanted: BTreeSet<&str> = cap_ruleset::flags(&network).iter().copied().collect();
        if text_of(set, "type") != cap_ruleset::element_type(&network) || flags != wanted {
            self.foreign_sets.push(name);
            return;
        }
        let found = elements(set).find(|(_, value)| self::network(value) == Some(network));
        match (found, rule) {
            (Some((inner, _)), Some(rule)) => self.held.push(Capped {
                network,
                entries_max: rule.entries_max,
                left_s: inner.get("expires").and_then(Value::as_u64),
                note: Note::parse(text_of(inner, "comment")),
                dropped: rule.dropped,
                handle: rule.handle,
            }),
            (found, rule) => {
                if found.is_some() {
                    self.without_rule.push(network);
                }
                self.remnants.insert(name);
                self.remnant_rules.extend(rule.map(|rule| rule.handle));
            }
        }
    }

    /// What keeps caps from working: sentences.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = Vec::new();
        for name in &self.foreign_sets {
            problems.push(format!(
                "the set {name} of the table inet ctwatch is not as ctwatch makes it: nobody is capped by it"
            ));
        }
        for network in &self.without_rule {
            problems.push(format!(
                "the rule that caps {} is gone: it is capped no more; 'ctwatch cap' caps it again",
                element(network)
            ));
        }
        let what = match self.chain {
            Chain::OtherRules => "has other rules than ctwatch gives it",
            Chain::OtherHook => "is not called where ctwatch has it called",
            Chain::Missing | Chain::Right => return problems,
        };
        problems.push(format!(
            "the chain {CHAIN} of the table inet ctwatch {what}: caps may not hold; the next 'ctwatch cap' makes it anew"
        ));
        problems
    }
}

/// A rule as [`cap_ruleset::rule`] makes it, and whose it is.
fn rule(rule: &Value) -> Option<(IpNet, Rule)> {
    let expressions = rule.get("expr")?.as_array()?;
    let [source, status, count, counter, verdict] = expressions.as_slice() else { return None };
    let source = source.get("match")?;
    let network = source_of(text_of(source, "right").strip_prefix('@')?)?;
    let field = json!({"payload": {"protocol": cap_ruleset::protocol(&network), "field": "saddr"}});
    let count = count.get("ct count")?;
    let is_ours = text_of(source, "op") == "=="
        && source.get("left") == Some(&field)
        && is_unconfirmed(status.get("match")?)
        && count.get("inv") == Some(&Value::Bool(true))
        && *verdict == json!({"drop": null});
    let entries_max = u32::try_from(count.get("val")?.as_u64()?).ok()?;
    let handle = rule.get("handle")?.as_u64()?;
    is_ours.then_some((network, Rule { entries_max, dropped: dropped(counter)?, handle }))
}

/// `ct status ! confirmed`, or `ct status & confirmed == 0`: versions of nft word it differently.
fn is_unconfirmed(status: &Value) -> bool {
    let key = json!({"ct": {"key": "status"}});
    let is = |op: &str, left: &Value, right: &Value| {
        text_of(status, "op") == op
            && status.get("left") == Some(left)
            && status.get("right") == Some(right)
    };
    is("!", &key, &json!("confirmed")) || is("==", &json!({"&": [key, "confirmed"]}), &json!(0))
}

#[cfg(test)]
#[path = "caps_tests.rs"]
mod tests;
