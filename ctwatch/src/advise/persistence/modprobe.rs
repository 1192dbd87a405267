//! What modprobe is told of conntrack's module (modprobe.d(5)), and what the kernel makes of it.

use serde::{Deserialize, Serialize};

use super::{
    files::{COMMAND_LINE, Files, MODPROBE, Place, joined_lines},
    sysctl::unsigned,
};

/// The module's name.
pub const MODULE: &str = "nf_conntrack";

/// A number of buckets that the module is given when it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hashsize {
    /// So many.
    Buckets(u64),
    /// What is no number: the kernel refuses to load the module with it (`parse_one`, kernel/params.c; `param_set_uint`).
    Unusable(String),
}

/// A line that names the module by one of its old names, which is used only when it is loaded by that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldName {
    /// The name.
    pub name: String,
    /// Where.
    pub place: Place,
}

/// What modprobe is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Directives {
    /// All numbers of buckets that are given, in their order.
    pub hashsizes: Vec<(Place, Hashsize)>,
    /// The one that counts: the kernel takes them one after another and stops at the first that is no number.
    pub hashsize: Option<(Place, Hashsize)>,
    /// A command that is run instead of loading the module, as to set sysctls afterwards.
    pub install: Option<(Place, String)>,
    /// Lines about the module's old names.
    pub old_names: Vec<OldName>,
}

/// Reads the files of modprobe.d in their order, and then the kernel's command line, as modprobe does.
pub fn read(files: &Files) -> Directives {
    let mut found = Directives::default();
    for (path, text) in files.of(MODPROBE) {
        for (line, text) in joined_lines(text) {
            let place = Place { file: path.to_owned(), line };
            let mut words = text.split_whitespace();
            let (directive, module) =
                (words.next(), words.next().map(|name| name.replace('-', "_")));
            let rest: Vec<&str> = words.collect();
            match (directive, module.as_deref()) {
                (Some("options"), Some(MODULE)) => {
                    let given = hashsizes(&rest).into_iter();
                    found.hashsizes.extend(given.map(|size| (place.clone(), size)));
                }
                (Some("install"), Some(MODULE)) => found.install = Some((place, rest.join(" "))),
                (Some("options" | "install"), Some(name))
                    if matches!(name, "ip_conntrack" | "nf_conntrack_ipv4") =>
                {
                    found.old_names.push(OldName { name: name.to_owned(), place });
                }
                _ => {}
            }
        }
    }
    let command_line = files.text(COMMAND_LINE).unwrap_or_default();
    for word in command_line.split_whitespace() {
        if let Some(option) = word.strip_prefix("nf_conntrack.") {
            let place = Place { file: COMMAND_LINE.to_owned(), line: 1 };
            let given = hashsizes(&[option]).into_iter();
            found.hashsizes.extend(given.map(|size| (place.clone(), size)));
        }
    }
    let unusable = found.hashsizes.iter().find(|(_, size)| matches!(size, Hashsize::Unusable(_)));
    found.hashsize = unusable.or(found.hashsizes.last()).cloned();
    found
}

/// The numbers of buckets among options: modprobe hands all words over as they are, so `hashsize = 1` is a `hashsize`
/// without a value, and two words that are no options.
fn hashsizes(options: &[&str]) -> Vec<Hashsize> {
    let sizes = options.iter().filter_map(|word| {
        let value = match word.split_once('=') {
            Some(("hashsize", value)) => value.trim_matches('"'),
            None if *word == "hashsize" => "",
            _ => return None,
        };
        Some(match unsigned(value) {
            Some(buckets) => Hashsize::Buckets(buckets),
            None => Hashsize::Unusable(options.join(" ")),
        })
    });
    sizes.collect()
}
