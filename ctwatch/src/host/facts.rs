//! Gathers what advice needs to know of the machine besides the table; what cannot be read is left out.

use super::{
    addresses, machine_memory,
    namespace::{NamespaceTarget, NetworkNamespace},
    namespace_list::tracking_namespaces,
    sysctl::ConntrackFiles,
};
use crate::advise::facts::{Facts, Memory, NamespaceFacts};

/// Reads everything, for advice on the table of `namespace`.
pub fn read_in(namespace: &NetworkNamespace) -> Facts {
    Facts {
        memory: memory(),
        namespaces: namespaces(),
        addresses: addresses::read_in(namespace),
        ..Facts::default()
    }
}

fn memory() -> Memory {
    let machine = machine_memory::read();
    Memory {
        total_bytes: machine.total_bytes,
        available_bytes: machine.available_bytes,
        entry_bytes: super::memory::entry_bytes(),
        extension_bytes: None,
    }
}

fn namespaces() -> Vec<NamespaceFacts> {
    let count = |target: &NamespaceTarget| {
        ConntrackFiles::open_in(&NetworkNamespace::open(target).ok()?).ok()?.count().ok()
    };
    let found = tracking_namespaces().into_iter();
    let facts = found.filter_map(|found| {
        let entries = count(&found.target)?;
        Some(NamespaceFacts { netns: found.inode, name: found.name, entries })
    });
    facts.collect()
}
