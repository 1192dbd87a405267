//! Lists the network namespaces of the machine and tells which of them track connections; it looks into
//! each for a moment and never asks the kernel through netlink.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::{
    namespace::{
        NAMED_NAMESPACES, NamespaceTarget, NetworkNamespace, names, namespace_inode, own_inode,
    },
    sysctl::ConntrackFiles,
};

/// A network namespace of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundNamespace {
    /// The kernel's number of it.
    pub inode: u32,
    /// How to open it.
    pub target: NamespaceTarget,
    /// Its name, or `pid N (COMM)` of the process with the lowest number in it.
    pub name: String,
}

/// All network namespaces that a process is in or that have a name, each once, by their number.
///
/// What this user may not see is left out: without privilege that is most processes of others.
pub fn all_namespaces() -> Vec<FoundNamespace> {
    let mut found = BTreeMap::new();
    let own = own_inode();
    // A name says more than a process: names go in first and the first one stays.
    for namespace in named() {
        found.entry(namespace.inode).or_insert(namespace);
    }
    for (pid, inode) in of_processes() {
        found.entry(inode).or_insert_with(|| of_process(pid, inode));
    }
    let mut found: Vec<FoundNamespace> = found.into_values().collect();
    for namespace in found.iter_mut().filter(|namespace| Some(namespace.inode) == own) {
        // The own namespace needs no privilege when it is opened as such.
        namespace.target = NamespaceTarget::OwnNamespace;
    }
    found
}

/// The namespaces that hold tracked connections now, or have had any statistics since they were made.
pub fn tracking_namespaces() -> Vec<FoundNamespace> {
    all_namespaces().into_iter().filter(|namespace| tracks(&namespace.target)).collect()
}

/// Whether a namespace holds tracked connections now, or has had any statistics since it was made. This looks into
/// it for a moment.
pub fn tracks(target: &NamespaceTarget) -> bool {
    let Ok(namespace) = NetworkNamespace::open(target) else { return false };
    let Ok(mut files) = ConntrackFiles::open_in(&namespace) else { return false };
    files.count().is_ok_and(|count| count > 0)
        || files.statistics().is_ok_and(|statistics| statistics.any())
}

fn named() -> impl Iterator<Item = FoundNamespace> {
    names().into_iter().filter_map(|name| {
        let metadata = fs::metadata(Path::new(NAMED_NAMESPACES).join(&name)).ok()?;
        let inode = namespace_inode(&metadata)?;
        Some(FoundNamespace { inode, target: NamespaceTarget::Name(name.clone()), name })
    })
}

/// The number of each process and of the namespace that it is in, the lowest process first.
fn of_processes() -> impl Iterator<Item = (u32, u32)> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().filter_map(|pid| {
        let link = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
        Some((pid, inode_of_link(link.as_os_str())?))
    })
}

fn of_process(pid: u32, inode: u32) -> FoundNamespace {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let command = fs::read_to_string(directory.join("comm")).unwrap_or_default();
    let name = format!("pid {pid} ({})", command.trim_end());
    FoundNamespace { inode, target: NamespaceTarget::Path(directory.join("ns/net")), name }
}

/// The number in `net:[4026531840]` (namespaces(7)).
fn inode_of_link(link: &OsStr) -> Option<u32> {
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_of_a_namespace_holds_its_number() {
        assert_eq!(inode_of_link(OsStr::new("net:[4026531840]")), Some(4_026_531_840));
        assert_eq!(inode_of_link(OsStr::new("uts:[4026531838]")), None);
        assert_eq!(inode_of_link(OsStr::new("net:[]")), None);
    }

    #[test]
    fn each_namespace_is_listed_once_and_the_own_one_is_among_them() {
        let found = all_namespaces();
        assert!(found.is_sorted_by(|a, b| a.inode < b.inode), "{found:?}");
        let own = found.iter().find(|namespace| Some(namespace.inode) == own_inode()).unwrap();
        assert_eq!(own.target, NamespaceTarget::OwnNamespace);
    }
}
