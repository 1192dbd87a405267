//! Lists written down, loaded by nft in a gateway's namespace, and what the kernel has then. The scenarios in the virtual machine
//! use it as well.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ctwatch::blocklist::formats::{self, Entry};
use ctwatch::blocklist::note::Note;
use ctwatch::blocklist::ruleset::Set;
use ctwatch::blocklist::{Block, Blocklist};
use ctwatch_lab::Gateway;
use ipnet::IpNet;
use serde_json::Value;

/// The formats of nft, and how it is told to read them.
pub(crate) const FORMATS: [(&str, &[&str]); 3] =
    [("nft", &[]), ("nft-set", &[]), ("nft-json", &["-j"])];

pub(crate) fn block(network: &str, duration_s: u64, why: &str) -> Block {
    let network = network.parse().or_else(|_| network.parse().map(IpAddr::into)).unwrap();
    Block { network, duration: Duration::from_secs(duration_s), why: why.to_owned() }
}

pub(crate) fn rendered(format: &str, list: &Blocklist) -> String {
    (formats::by_name(format).unwrap().render)(list)
}

pub(crate) fn kept(format: &str, list: &Blocklist) -> Vec<Entry> {
    let format = formats::by_name(format).unwrap();
    list.blocks.iter().filter_map(|block| (format.kept)(list, block)).collect()
}

/// Loads a text as a file.
#[track_caller]
pub(crate) fn nft(gateway: &Gateway, options: &[&str], text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    fs::write(&path, text).unwrap();
    nft_well(gateway, &[options, &["-f", path_text(&path)]].concat());
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
pub(crate) fn nft_well(gateway: &Gateway, arguments: &[&str]) -> String {
    run_well(gateway, "nft", arguments)
}

#[track_caller]
pub(crate) fn run_well(gateway: &Gateway, program: &str, arguments: &[&str]) -> String {
    let output =
        gateway.gateway().within(|| Ok(Command::new(program).args(arguments).output()?)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the kernel has: each block, and how many seconds are left of it.
pub(crate) fn loaded(gateway: &Gateway) -> (Vec<Entry>, BTreeMap<String, u64>) {
    let mut elements = elements(gateway);
    elements.sort_by_key(|each| each.0.network);
    let left_s = elements.iter().map(|each| (each.0.network.to_string(), each.1)).collect();
    (elements.into_iter().map(|each| each.0).collect(), left_s)
}

/// The elements of all sets, the seconds that are left of each, and its packets.
pub(crate) fn elements(gateway: &Gateway) -> Vec<(Entry, u64, u64)> {
    let listed = nft_well(gateway, &["-j", "list", "table", "inet", "ctwatch"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let sets = listed["nftables"].as_array().unwrap().iter().filter_map(|each| each.get("set"));
    let sets: Vec<&Value> = sets.collect();
    assert_eq!(sets.len(), Set::ALL.len());
    let mut all = Vec::new();
    for set in sets {
        let is_customers = set["name"] == "block6_64";
        for element in set.get("elem").and_then(Value::as_array).into_iter().flatten() {
            let (mut entry, left_s, packets) = of_element(&element["elem"]);
            if is_customers {
                entry.network = IpNet::new(entry.network.addr(), 64).unwrap();
            }
            all.push((entry, left_s, packets));
        }
    }
    all
}

fn of_element(element: &Value) -> (Entry, u64, u64) {
    let network = match &element["val"] {
        Value::String(address) => address.parse::<IpAddr>().unwrap().into(),
        prefix => {
            let prefix = &prefix["prefix"];
            format!("{}/{}", prefix["addr"].as_str().unwrap(), prefix["len"]).parse().unwrap()
        }
    };
    let entry = Entry {
        network,
        duration: element["timeout"].as_u64().map(Duration::from_secs),
        why: Note::parse(element["comment"].as_str().unwrap()).map(|note| note.why),
    };
    let number = |value: &Value| value.as_u64().unwrap();
    (entry, number(&element["expires"]), number(&element["counter"]["packets"]))
}
