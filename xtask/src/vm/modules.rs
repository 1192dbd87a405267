//! Chooses the kernel modules that a gateway needs, and puts them into the order in which they load; it loads none.
//!
//! Debian's packages have no `modules.dep`, so the order comes from what each module says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::process;

/// Without these there is no gateway to look at.
const REQUIRED: [&str; 8] = [
    "nf_conntrack",
    "nf_nat",
    "nf_tables",
    "nft_ct",
    "nft_masq",
    "nft_chain_nat",
    "nf_conntrack_netlink",
    "veth",
];
/// Some kernels have these inside another module, or not at all.
const WELCOME: [&str; 13] = [
    "nft_connlimit",
    "nft_counter",
    "nft_limit",
    "nft_reject",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "nft_reject_inet",
    "nft_log",
    "nft_objref",
    "nfnetlink_hook",
    "nf_conntrack_tftp",
    "bridge",
    "dummy",
];

/// A module, ready to be loaded.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// The uncompressed ELF object.
    pub(crate) object: Vec<u8>,
}

/// The modules of a gateway from `/lib/modules/VERSION`, each after those it needs.
///
/// `busybox` decompresses `.ko.xz` where the machine has no `xz`.
pub(crate) fn for_gateway(directory: &Path, busybox: &Path) -> Result<Vec<Module>> {
    let files = module_files(directory)?;
    let built_in = fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
    let built_in: BTreeSet<String> =
        built_in.lines().filter_map(|line| module_name(Path::new(line))).collect();
    for name in REQUIRED {
        if !files.contains_key(name) && !built_in.contains(name) {
            bail!("{} has no module {name}", directory.display());
        }
    }
    let mut objects: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut waiting: Vec<String> =
        REQUIRED.iter().chain(&WELCOME).map(|name| (*name).to_owned()).collect();
    while let Some(name) = waiting.pop() {
        // What has no file is built in: the kernel's build names no other dependencies.
        let Some(path) = files.get(&name).filter(|_| !objects.contains_key(&name)) else {
            continue;
        };
        let object = read_object(path, busybox)?;
        let dependencies = dependencies(&object);
        waiting.extend(dependencies.iter().cloned());
        needs.insert(name.clone(), dependencies);
        objects.insert(name, object);
    }
    let order = load_order(&needs);
    Ok(order
        .into_iter()
        .filter_map(|name| objects.remove(&name).map(|object| Module { name, object }))
        .collect())
}

/// The names in an order in which each follows those it needs; names that need each other keep some order.
fn load_order(needs: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    fn visit(
        name: &str,
        needs: &BTreeMap<String, Vec<String>>,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) {
        let Some(dependencies) = needs.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        for dependency in dependencies {
            visit(dependency, needs, seen, order);
        }
        order.push(name.to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    for name in needs.keys() {
        visit(name, needs, &mut seen, &mut order);
    }
    order
}

/// The modules that a module names in its `.modinfo` section, one NUL-terminated `depends=a,b` (scripts/mod/modpost.c, `add_depends`).
fn dependencies(object: &[u8]) -> Vec<String> {
    let depends =
        object.split(|byte| *byte == 0).find_map(|string| string.strip_prefix(b"depends="));
    let depends = String::from_utf8_lossy(depends.unwrap_or_default()).into_owned();
    depends.split(',').filter(|name| !name.is_empty()).map(canonical).collect()
}

/// Every module file below a directory, by name.
fn module_files(directory: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.join("kernel")];
    while let Some(directory) = waiting.pop() {
        for path in packages::files_in(&directory)? {
            if path.is_dir() {
                waiting.push(path);
            } else if let Some(name) = module_name(&path) {
                found.insert(name, path);
            }
        }
    }
    Ok(found)
}

/// `nf_nat` for `…/nf_nat.ko`, `…/nf-nat.ko.xz` and the like.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| canonical(name))
}

/// File names may have dashes where module names have underscores.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn read_object(path: &Path, busybox: &Path) -> Result<Vec<u8>> {
    let mut command = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => match process::find_program("xz") {
            Some(xz) => Command::new(xz),
            None => {
                let mut command = Command::new(busybox);
                command.arg("xz");
                command
            }
        },
        Some("zst") => Command::new(
            process::find_program("zstd").context("these modules need `zstd`: install it")?,
        ),
        Some("gz") => Command::new("gzip"),
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    let output = command.arg("-dc").arg(path).env_remove("LD_LIBRARY_PATH").output();
    let output =
        output.with_context(|| format!("cannot start `{}`", process::describe(&command)))?;
    if !output.status.success() {
        bail!(
            "cannot decompress {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        let object = b"\x7fELF\0license=GPL\0depends=nf_conntrack,nf-defrag-ipv6\0name=nf_nat\0";
        assert_eq!(dependencies(object), ["nf_conntrack", "nf_defrag_ipv6"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
        assert!(dependencies(b"\0retpoline=Y\0").is_empty());
    }

    #[test]
    fn modules_load_after_what_they_need() {
        let needs = |name: &str, needs: &[&str]| {
            (name.to_owned(), needs.iter().map(|name| (*name).to_owned()).collect())
        };
        let graph = BTreeMap::from([
            needs("a", &["c", "built_in"]),
            needs("b", &[]),
            needs("c", &["d", "b"]),
            needs("d", &["b"]),
        ]);
        assert_eq!(load_order(&graph), ["b", "d", "c", "a"]);
    }

    #[test]
    fn a_circle_ends() {
        let graph = BTreeMap::from([
            ("a".to_owned(), vec!["b".to_owned()]),
            ("b".to_owned(), vec!["a".to_owned()]),
        ]);
        assert_eq!(load_order(&graph).len(), 2);
    }

    #[test]
    fn files_are_known_by_the_module_s_name() {
        assert_eq!(module_name(Path::new("x/nf-nat.ko.xz")).as_deref(), Some("nf_nat"));
        assert_eq!(module_name(Path::new("veth.ko")).as_deref(), Some("veth"));
        assert_eq!(module_name(Path::new("modules.builtin")), None);
        assert_eq!(module_name(Path::new("a.kobject")), None);
    }
}
