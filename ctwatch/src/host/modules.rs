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

/// Whether `nf_conntrack_netlink`, which lists entries and tells of their events, is there.
///
/// While it is absent no `NETLINK_NETFILTER` socket may be opened: opening it, sending a request and joining
/// a group each make the kernel load a module (`netlink_create`, net/netlink/af_netlink.c;
/// `nfnetlink_rcv_msg` and `nfnetlink_bind`, net/netfilter/nfnetlink.c).
///
/// Where it is not a loaded module this reads `/proc/kallsyms`, some ten milliseconds, the first time.
pub fn conntrack_netlink() -> Presence {
    static RUNNING: OnceLock<Machine> = OnceLock::new();
    RUNNING.get_or_init(Machine::running).conntrack_netlink()
}

/// Whether a part of the kernel is there: as a module of that name, or built in, which a function whose name begins with
/// `prefix` shows.
pub fn is_there(module: &str, prefix: &str) -> bool {
    let machine = Machine::running();
    machine.is_live_module(module) || machine.has_built_in_symbol(prefix)
}

/// Where /proc and /sys are, so that tests can have their own.
#[derive(Debug)]
struct Machine {
    root: PathBuf,
    /// Whether ctnetlink is built in, once that is known: it does not change.
    has_ctnetlink: OnceLock<bool>,
}

impl Machine {
    fn running() -> Self {
        Self::at(PathBuf::from("/"))
    }

    fn at(root: PathBuf) -> Self {
        Self { root, has_ctnetlink: OnceLock::new() }
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

    fn conntrack_netlink(&self) -> Presence {
        if self.is_live_module("nf_conntrack_netlink") {
            Presence::Module
        } else if *self.has_ctnetlink.get_or_init(|| self.has_built_in_symbol("ctnetlink_")) {
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

    /// Whether a function of that prefix belongs to the kernel itself. `/proc/kallsyms` gives everyone the
    /// names, without the addresses, and `[MODULE]` behind the name of a module's function.
    fn has_built_in_symbol(&self, prefix: &str) -> bool {
        let Ok(file) = File::open(self.root.join("proc/kallsyms")) else { return false };
        any_built_in(BufReader::with_capacity(1 << 16, file), prefix)
    }
}

fn any_built_in(mut symbols: impl BufRead, prefix: &str) -> bool {
    let mut line = String::new();
    while symbols.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let mut words = line.split_ascii_whitespace();
        if words.nth(2).is_some_and(|name| name.starts_with(prefix)) && words.next().is_none() {
            return true;
        }
        line.clear();
    }
    false
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
        assert_eq!(machine.conntrack_netlink(), Presence::Absent);
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
        assert_eq!(machine.conntrack_netlink(), Presence::Absent);
    }

    #[test]
    fn built_in_code_has_parameters_and_symbols_but_no_state() {
        let (_directory, machine) = machine(&[
            COUNT,
            ("sys/module/nf_conntrack/parameters/hashsize", "65536\n"),
            (
                "proc/kallsyms",
                "0000000000000000 T nf_ct_delete\n0000000000000000 t ctnetlink_parse_help\n",
            ),
        ]);
        assert_eq!(machine.conntrack(), Presence::BuiltIn);
        assert!(!machine.is_in_transit("nf_conntrack"));
        assert_eq!(machine.conntrack_netlink(), Presence::BuiltIn);
    }

    #[test]
    fn symbols_that_only_contain_the_prefix_do_not_count() {
        let (_directory, machine) =
            machine(&[("proc/kallsyms", "0 t __ctnetlink_glue\nnonsense\n\n0 t nf_ctnetlink_x\n")]);
        assert_eq!(machine.conntrack_netlink(), Presence::Absent);
    }
}
