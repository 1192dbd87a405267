//! Tells whether conntrack and its netlink side are in the kernel, by looking at files only: a module is
//! never loaded by looking.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// How a part of the kernel is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Loaded as a module.
    Module,
    /// Built into the kernel.
    BuiltIn,
    /// Not there, or not yet: it may be a module that nobody has loaded.
    Absent,
}

/// Whether `nf_conntrack`, which tracks connections, is there.
pub fn conntrack() -> Presence {
    Machine::running().conntrack()
}

/// Whether `nf_conntrack` is there on the machine whose /proc and /sys are below `root`.
pub fn conntrack_at(root: &Path) -> Presence {
    Machine::at(root.to_owned()).conntrack()
}

/// Whether `nf_conntrack` is just being loaded or unloaded: its files may be there, and its functions can not yet, or no
/// more, be traced (`btf_try_get_module`, kernel/bpf/btf.c).
pub fn is_conntrack_in_transit() -> bool {
    Machine::running().is_in_transit("nf_conntrack")
}

/// A part of the kernel that a module may bring, besides conntrack itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `nf_conntrack_netlink`, which lists entries and tells of their events.
    ///
    /// While it is absent no `NETLINK_NETFILTER` socket may be opened: opening it, sending a request and joining
    /// a group each make the kernel load a module (`netlink_create`, net/netlink/af_netlink.c;
    /// `nfnetlink_rcv_msg` and `nfnetlink_bind`, net/netfilter/nfnetlink.c).
    ConntrackNetlink,
    /// `nf_tables`, which rules of nft are kept by.
    Tables,
    /// `nfnetlink_cttimeout`, which policies of `nfct timeout` are kept by.
    TimeoutPolicies,
}

impl Part {
    const ALL: [Self; 3] = [Self::ConntrackNetlink, Self::Tables, Self::TimeoutPolicies];

    fn module(self) -> &'static str {
        match self {
            Self::ConntrackNetlink => "nf_conntrack_netlink",
            Self::Tables => "nf_tables",
            Self::TimeoutPolicies => "nfnetlink_cttimeout",
        }
    }

    /// What names of its functions begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::ConntrackNetlink => "ctnetlink_",
            Self::Tables => "nf_tables_",
            Self::TimeoutPolicies => "cttimeout_",
        }
    }
}

/// Whether a part of the kernel is there.
///
/// Where it is not a loaded module this reads `/proc/kallsyms`, some ten milliseconds, the first time.
pub fn presence_of(part: Part) -> Presence {
    static RUNNING: OnceLock<Machine> = OnceLock::new();
    RUNNING.get_or_init(Machine::running).presence_of(part)
}

/// Whether a part of the kernel is there; as [`presence_of`].
pub fn is_there(part: Part) -> bool {
    presence_of(part) != Presence::Absent
}

/// Where /proc and /sys are, so that tests can have their own.
#[derive(Debug)]
struct Machine {
    root: PathBuf,
    /// Which parts are built in, once that is known: it does not change.
    built_in: OnceLock<Vec<Part>>,
}

impl Machine {
    fn running() -> Self {
        Self::at(PathBuf::from("/"))
    }

    fn at(root: PathBuf) -> Self {
        Self { root, built_in: OnceLock::new() }
    }

    fn conntrack(&self) -> Presence {
        if !self.root.join("proc/sys/net/netfilter/nf_conntrack_count").exists() {
            Presence::Absent
        } else if self.is_live_module("nf_conntrack") {
            Presence::Module
        } else {
            Presence::BuiltIn
        }
    }

    fn presence_of(&self, part: Part) -> Presence {
        if self.is_live_module(part.module()) {
            Presence::Module
        } else if self.built_in.get_or_init(|| self.built_in()).contains(&part) {
            Presence::BuiltIn
        } else {
            Presence::Absent
        }
    }

    /// A module has the file `initstate` and says `live` once its init function has ended
    /// (`show_initstate`, kernel/module/sysfs.c and kernel/params.c); built-in code has none.
    fn is_live_module(&self, module: &str) -> bool {
        self.state(module).is_some_and(|state| state == "live")
    }

    fn is_in_transit(&self, module: &str) -> bool {
        self.state(module).is_some_and(|state| state != "live")
    }

    fn state(&self, module: &str) -> Option<String> {
        let path = self.root.join("sys/module").join(module).join("initstate");
        Some(std::fs::read_to_string(path).ok()?.trim_end().to_owned())
    }

    /// The parts with functions that belong to the kernel itself. `/proc/kallsyms` gives everyone the names, without the
    /// addresses, and `[MODULE]` behind the name of a module's function.
    fn built_in(&self) -> Vec<Part> {
        match File::open(self.root.join("proc/kallsyms")) {
            Ok(file) => built_in_by(BufReader::with_capacity(1 << 16, file)),
            Err(_) => Vec::new(),
        }
    }
}

fn built_in_by(mut symbols: impl BufRead) -> Vec<Part> {
    let mut found = Vec::new();
    let mut line = String::new();
    while found.len() < Part::ALL.len() && symbols.read_line(&mut line).is_ok_and(|bytes| bytes > 0)
    {
        let mut words = line.split_ascii_whitespace();
        let name = words.nth(2).filter(|_| words.next().is_none()).unwrap_or_default();
        let part = Part::ALL.into_iter().find(|part| name.starts_with(part.prefix()));
        if let Some(part) = part.filter(|part| !found.contains(part)) {
            found.push(part);
        }
        line.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = directory.path().to_owned();
        (directory, Machine::at(root))
    }

    const COUNT: (&str, &str) = ("proc/sys/net/netfilter/nf_conntrack_count", "0\n");

    #[test]
    fn nothing_there_is_absent() {
        let (_directory, machine) = machine(&[]);
        assert_eq!(machine.conntrack(), Presence::Absent);
        assert_eq!(machine.presence_of(Part::ConntrackNetlink), Presence::Absent);
    }

    #[test]
    fn modules_are_live_or_not_there() {
        let (_directory, machine) = machine(&[
            COUNT,
            ("sys/module/nf_conntrack/initstate", "live\n"),
            ("sys/module/nf_conntrack_netlink/initstate", "coming\n"),
            ("proc/kallsyms", "0000000000000000 t ctnetlink_parse_help\t[nf_conntrack_netlink]\n"),
        ]);
        assert_eq!(machine.conntrack(), Presence::Module);
        assert!(!machine.is_in_transit("nf_conntrack"));
        assert!(machine.is_in_transit("nf_conntrack_netlink"));
        assert_eq!(machine.presence_of(Part::ConntrackNetlink), Presence::Absent);
    }

    #[test]
    fn built_in_code_has_parameters_and_symbols_but_no_state() {
        let (_directory, machine) = machine(&[
            COUNT,
            ("sys/module/nf_conntrack/parameters/hashsize", "65536\n"),
            (
                "proc/kallsyms",
                "0000000000000000 T nf_ct_delete\n0000000000000000 t ctnetlink_parse_help\n\
                 0000000000000000 t ctnetlink_done\n0000000000000000 t nf_tables_fill\t[nf_tables]\n\
                 0000000000000000 t cttimeout_init\n",
            ),
        ]);
        assert_eq!(machine.conntrack(), Presence::BuiltIn);
        assert!(!machine.is_in_transit("nf_conntrack"));
        assert_eq!(machine.presence_of(Part::ConntrackNetlink), Presence::BuiltIn);
        assert_eq!(machine.presence_of(Part::Tables), Presence::Absent);
        assert_eq!(machine.presence_of(Part::TimeoutPolicies), Presence::BuiltIn);
    }

    #[test]
    fn symbols_that_only_contain_the_prefix_do_not_count() {
        let (_directory, machine) =
            machine(&[("proc/kallsyms", "0 t __ctnetlink_glue\nnonsense\n\n0 t nf_ctnetlink_x\n")]);
        assert_eq!(machine.presence_of(Part::ConntrackNetlink), Presence::Absent);
    }
}
