//! The four files as text, and back: what earlier change sets have put into them stays. Nothing here touches a file.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    advise::{
        persistence::{MARK, modprobe::MODULE},
        settings::{BUCKETS, HASHSIZE},
    },
    change::persist::SYSCTL_FILE,
};

/// What a change set makes persistent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub set: u64,
    /// When it was made persistent, as people read it.
    pub when: String,
    /// Its values by key, the buckets by [`HASHSIZE`].
    pub values: BTreeMap<String, u64>,
}

/// The sets in the order in which they were made persistent; each key is in one of them only.
pub type Blocks = Vec<Block>;

const HEADER: &str = ": 'ctwatch confirm --persist' and 'ctwatch rollback' replace it as a whole.";

/// Adds a set: what it sets is no more the earlier ones'.
pub fn add(blocks: &mut Blocks, block: Block) {
    for earlier in blocks.iter_mut() {
        earlier.values.retain(|key, _| !block.values.contains_key(key));
    }
    blocks.retain(|earlier| earlier.set != block.set && !earlier.values.is_empty());
    blocks.push(block);
}

/// Which modules are loaded when the machine starts.
pub fn modules_load() -> String {
    format!("{MARK}{HEADER}\n# Settings can be made once the module is there.\n{MODULE}\n")
}

/// What the module is given when it is loaded; `None` if no set is about that. modprobe knows no spaces around `=`.
pub fn modprobe(blocks: &Blocks) -> Option<String> {
    let of_set = |block: &Block| {
        let buckets = block.values.get(HASHSIZE)?;
        Some(format!("\n{}options {MODULE} hashsize={buckets}\n", heading(block)))
    };
    let found: Vec<String> = blocks.iter().filter_map(of_set).collect();
    (!found.is_empty()).then(|| {
        format!("{MARK}{HEADER}\n# This alone would set the limit to eight times as many: {SYSCTL_FILE} sets it.\n{}", found.concat())
    })
}

/// Settings, which are made when the machine starts and when the module is loaded. The buckets are in it as well: where an initramfs loads
/// the module, or the kernel has it built in, nothing reads what modprobe is told.
pub fn sysctl(blocks: &Blocks) -> String {
    let mut text = format!("{MARK}{HEADER}\n");
    for block in blocks {
        text.push('\n');
        text.push_str(&heading(block));
        for (key, value) in &block.values {
            let key = if key == HASHSIZE { BUCKETS } else { key };
            // Writing to a String does not fail.
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// Makes the settings when the module is loaded, however late. Every distribution that has systemd has it below `/lib`, if
/// only by a link.
pub fn udev_rules(has_systemd: bool) -> String {
    let command = match has_systemd {
        true => {
            "/lib/systemd/systemd-sysctl --prefix=/net/netfilter --prefix=/net/nf_conntrack_max"
                .to_owned()
        }
        false => format!("/sbin/sysctl -p {SYSCTL_FILE}"),
    };
    format!(
        "{MARK}{HEADER}\n# The kernel has none of the settings before the module is loaded, and nothing else makes them then.\n\
         ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"{MODULE}\", RUN+=\"{command}\"\n"
    )
}

/// What [`sysctl`] wrote; `None` if it is not exactly that.
pub fn read_sysctl(text: &str) -> Option<Blocks> {
    let mut blocks: Blocks = Vec::new();
    for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
        match line.strip_prefix("# Change set ") {
            Some(rest) => {
                let (set, rest) = rest.split_once(", persistent since ")?;
                let when = rest.split_once("; to undo it: ")?.0.to_owned();
                blocks.push(Block { set: set.parse().ok()?, when, values: BTreeMap::new() });
            }
            None => {
                let (key, value) = line.split_once(" = ")?;
                let key = if key == BUCKETS { HASHSIZE } else { key };
                blocks.last_mut()?.values.insert(key.to_owned(), value.parse().ok()?);
            }
        }
    }
    (sysctl(&blocks) == text).then_some(blocks)
}

fn heading(block: &Block) -> String {
    let Block { set, when, .. } = block;
    format!("# Change set {set}, persistent since {when}; to undo it: ctwatch rollback {set}\n")
}
