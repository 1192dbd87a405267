//! Gathers what advice needs to know of the machine besides the table; what cannot be read is left out.

use std::path::Path;

use super::{
    addresses, expectations, extension_memory, firewall, kernel_log, legacy_names, machine_memory,
    module_users,
    namespace::{NamespaceTarget, NetworkNamespace},
    namespace_list::tracking_namespaces,
    persistence, services, surroundings,
    sysctl::ConntrackFiles,
};
use crate::{
    advise::{
        facts::{Facts, LogSigns, Memory, NamespaceFacts, Unread, Writer},
        persistence::Persistence,
        settings::Settings,
    },
    model::snapshot::KernelStatistics,
};

/// Reads everything, for advice on the table of `namespace`, which is set to `settings`.
pub fn read_in(namespace: &NetworkNamespace, settings: &Settings) -> Facts {
    let firewall = firewall::read_in(namespace);
    let mut services = services::read_in(namespace.inode());
    let mut unread = firewall.unread;
    let are_users_known = unread.is_empty();
    let mut users = firewall.users;
    users.append(&mut services.users);
    let surroundings = surroundings::read_in(namespace);
    // The files are those of the first namespace: elsewhere the values in force say nothing of them.
    let is_initial = surroundings.is_initial_namespace == Some(true);
    let (persistence, mut writers) = files(is_initial.then_some(settings));
    writers.append(&mut services.writers);
    let mut memory = memory();
    extension_memory::add_to(&mut memory, namespace, settings, firewall.translates_sources);
    let log = kernel_log::read().unwrap_or_else(|error| {
        unread.push(Unread {
            what: "what the kernel's log tells of a full table".into(),
            why: format!(
                "cannot read /dev/kmsg ({error}): run ctwatch as root, or with CAP_SYSLOG; in a container look at the log of its host"
            ),
        });
        LogSigns::default()
    });
    Facts {
        memory,
        may_change_machine: surroundings::may_change_machine(&surroundings),
        namespaces: namespaces(),
        translates_sources: firewall.translates_sources,
        addresses: addresses::read_in(namespace),
        expectations: expectations::count_in(namespace),
        writers,
        persistence,
        users,
        are_users_known,
        notrack_rules: firewall.notrack_rules,
        // Asked of the kernel by whoever makes the case.
        timeouts_of_rules: None,
        log,
        modules: module_users::read(),
        surroundings,
        statistics_by_cpu: statistics_by_cpu(namespace),
        legacy_names: legacy_names::read(),
        unread,
    }
}

/// What the files that are read when the machine starts say, and those of them that set a value.
fn files(settings: Option<&Settings>) -> (Persistence, Vec<Writer>) {
    let root = Path::new("/");
    let files = persistence::files(root);
    let found = Persistence::of(&files, &persistence::machine(root, settings));
    let writers = persistence::writers(&files, &found);
    (found, writers)
}

fn memory() -> Memory {
    let machine = machine_memory::read();
    Memory {
        total_bytes: machine.total_bytes,
        available_bytes: machine.available_bytes,
        entry_bytes: super::memory::entry_bytes(),
        ..Memory::default()
    }
}

fn statistics_by_cpu(namespace: &NetworkNamespace) -> Vec<KernelStatistics> {
    // Without conntrack there are none.
    let files = ConntrackFiles::open_in(namespace).ok();
    files.and_then(|files| files.statistics_by_cpu().ok()).unwrap_or_default()
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
