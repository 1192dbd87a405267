//! The same as the format nft, in JSON for `nft -j -f` and programs that speak to libnftables (libnftables-json(5)).

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{DropIn, Entry, Format, ParseError, moment, nft};
use crate::blocklist::{
    Block, Blocklist,
    note::Note,
    ruleset::{CHAIN, ELEMENTS_MAX, FAMILY, PRIORITY, Set, TABLE},
};

/// Its row.
pub(super) const FORMAT: Format = Format {
    name: "nft-json",
    what: "the same as nft, in JSON for 'nft -j -f'",
    render,
    parse,
    kept: |list, block| Some(nft::kept(list, block)),
    files: NO_FILES,
};
const NO_FILES: &[DropIn] = &[];

fn render(list: &Blocklist) -> String {
    let mut commands = vec![about(list)];
    commands.push(json!({"add": {"table": {"family": FAMILY, "name": TABLE}}}));
    commands.extend(Set::ALL.map(set));
    commands.push(json!({"add": {"chain": {
        "family": FAMILY, "table": TABLE, "name": CHAIN,
        "type": "filter", "hook": "prerouting", "prio": PRIORITY, "policy": "accept",
    }}}));
    commands.push(json!({"flush": {"chain": {"family": FAMILY, "table": TABLE, "name": CHAIN}}}));
    commands.extend(Set::ALL.map(rule));
    for (set, blocks) in nft::parts(list) {
        let sources: Vec<Value> = blocks.iter().map(|block| source(set, &block.network)).collect();
        let elements: Vec<Value> = blocks.iter().map(|block| blocked(list, set, block)).collect();
        // As in the format nft: who is there already has its time anew.
        commands.push(json!({"add": {"element": element_object(set, &sources)}}));
        commands.push(json!({"delete": {"element": element_object(set, &sources)}}));
        commands.push(json!({"add": {"element": element_object(set, &elements)}}));
    }
    let lines: Vec<String> = commands.iter().map(Value::to_string).collect();
    format!("{{\"nftables\": [\n{}\n]}}\n", lines.join(",\n"))
}

/// JSON has no comments; of this object nft reads the version alone.
fn about(list: &Blocklist) -> Value {
    json!({"metainfo": {
        "json_schema_version": 1,
        "made_by": "ctwatch blocklist",
        "made": moment::made(list).to_string(),
        "load": "nft -j -f FILE",
        "take_back": "ctwatch unblock --all, or nft delete table inet ctwatch",
    }})
}

fn set(set: Set) -> Value {
    json!({"add": {"set": {
        "family": FAMILY, "table": TABLE, "name": set.name(), "type": set.element_type(),
        "flags": set.flags(), "size": ELEMENTS_MAX, "stmt": [{"counter": null}],
    }}})
}

fn rule(set: Set) -> Value {
    let saddr = set.looked_up_json();
    let right = format!("@{}", set.name());
    json!({"add": {"rule": {"family": FAMILY, "table": TABLE, "chain": CHAIN, "expr": [
        {"match": {"op": "==", "left": saddr, "right": right}}, {"counter": null}, {"drop": null},
    ]}}})
}

fn element_object(set: Set, elements: &[Value]) -> Value {
    json!({"family": FAMILY, "table": TABLE, "name": set.name(), "elem": elements})
}

fn source(set: Set, network: &IpNet) -> Value {
    let address = network.addr().to_string();
    if !set.flags().contains(&"interval") {
        json!(address)
    } else {
        json!({"prefix": {"addr": address, "len": network.prefix_len()}})
    }
}

fn blocked(list: &Blocklist, set: Set, block: &Block) -> Value {
    json!({"elem": {
        "val": source(set, &block.network),
        "timeout": block.duration.as_secs(),
        "comment": nft::note(list, block).to_text(),
    }})
}

/// What is in the sets after the commands.
fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let wrong = |line: usize, what: &str| ParseError { line, what: what.to_owned() };
    let whole: Value = serde_json::from_str(text)
        .map_err(|error| ParseError { line: error.line(), what: error.to_string() })?;
    let commands = whole.get("nftables").and_then(Value::as_array);
    let commands =
        commands.ok_or_else(|| wrong(1, "expected an object with the key 'nftables'"))?;
    let mut entries: BTreeMap<IpNet, Entry> = BTreeMap::new();
    // Each command stands on a line of its own, behind the bracket.
    for (line, command) in (2..).zip(commands) {
        let elements = |verb: &str| command.pointer(&format!("/{verb}/element/elem"))?.as_array();
        let named = ["add", "delete"].into_iter().find_map(|verb| {
            command.pointer(&format!("/{verb}/element/name")).and_then(Value::as_str)
        });
        let set = Set::ALL.into_iter().find(|set| Some(set.name()) == named);
        let read = |element: &Value| {
            let entry = entry(element).zip(set);
            let entry =
                entry.map(|(entry, set)| Entry { network: set.source(entry.network), ..entry });
            entry.ok_or_else(|| wrong(line, "expected addresses or networks of a set of ctwatch's"))
        };
        for element in elements("add").into_iter().flatten() {
            let entry = read(element)?;
            entries.entry(entry.network).or_insert(entry);
        }
        for element in elements("delete").into_iter().flatten() {
            entries.remove(&read(element)?.network);
        }
    }
    Ok(entries.into_values().collect())
}

fn entry(element: &Value) -> Option<Entry> {
    let Some(inside) = element.get("elem") else {
        return Some(Entry { network: network(element)?, duration: None, why: None });
    };
    let note = inside.get("comment").and_then(Value::as_str).and_then(Note::parse);
    Some(Entry {
        network: network(inside.get("val")?)?,
        duration: Some(Duration::from_secs(inside.get("timeout")?.as_u64()?)),
        why: note.map(|note| note.why),
    })
}

fn network(value: &Value) -> Option<IpNet> {
    let Some(prefix) = value.get("prefix") else { return super::network(value.as_str()?) };
    let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
    IpNet::new(super::network(prefix.get("addr")?.as_str()?)?.addr(), length).ok()
}
