//! ctwatch reads files of settings as the programs do that are run when a machine starts: of many odd sets of files it
//! foretells what systemd's program, and procps', then do to a real kernel.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use ctwatch::{
    advise::persistence::{Machine, Persistence},
    host::persistence,
};
use ctwatch_lab::boot::{self, Setter};

const SETS: u64 = 24;
const DIRECTORIES: [&str; 4] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];
const NAMES: [&str; 4] = ["10-a.conf", "50-b.conf", "99-c.conf", "60-d.txt"];
/// Keys, and what they are before the files are read.
const BEFORE: [(&str, &str); 5] = [
    ("net.netfilter.nf_conntrack_max", "70000"),
    ("net.netfilter.nf_conntrack_udp_timeout", "31"),
    ("net.netfilter.nf_conntrack_icmp_timeout", "32"),
    ("net.netfilter.nf_conntrack_gre_timeout", "33"),
    ("net.netfilter.nf_conntrack_tcp_timeout_established", "431000"),
];
/// What a line may begin with; a number follows behind `=`.
const LEFT: [&str; 14] = [
    "net.netfilter.nf_conntrack_max",
    "net/netfilter/nf_conntrack_max ",
    "net.nf_conntrack_max",
    "  -net.nf_conntrack_max ",
    "net.netfilter.nf_conntrack_udp_timeout\t",
    "-net.netfilter.nf_conntrack_udp_timeout",
    "net/netfilter/nf_conntrack_icmp_timeout",
    "net.netfilter.nf_conntrack_*_timeout",
    "net.netfilter.nf_conntrack_[gi]*_timeout",
    "net.netfilter.nf_conntrack_ud?_timeout",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "#net.netfilter.nf_conntrack_max",
    "; net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_no_such_timeout",
];
/// Whole lines.
const LINES: [&str; 4] =
    ["", "-net.netfilter.nf_conntrack_gre_timeout", "-net.netfilter.nf_conntrack_u*", "nonsense"];

/// The same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn text(&mut self) -> String {
        let lines = 1 + self.below(6);
        let line = |numbers: &mut Self| match numbers.below(6) {
            0 => LINES[numbers.below(LINES.len())].to_owned(),
            _ => format!(
                "{}={}",
                LEFT[numbers.below(LEFT.len())],
                [" 101", "102", " 0x67 "][numbers.below(3)]
            ),
        };
        (0..lines).map(|_| line(self) + "\n").collect()
    }
}

fn path_of(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

fn write_files(numbers: &mut Numbers) {
    for directory in DIRECTORIES {
        let _absent = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).unwrap();
    }
    fs::write("/etc/sysctl.conf", numbers.text()).unwrap();
    for _ in 0..1 + numbers.below(4) {
        let path = Path::new(DIRECTORIES[numbers.below(DIRECTORIES.len())])
            .join(NAMES[numbers.below(NAMES.len())]);
        let _absent = fs::remove_file(&path);
        match numbers.below(8) {
            0 => symlink("/dev/null", path).unwrap(),
            1 => symlink("/etc/sysctl.conf", path).unwrap(),
            _ => fs::write(path, numbers.text()).unwrap(),
        }
    }
}

#[test]
fn reboot_1_files_are_read_as_systemd_and_procps_read_them() {
    boot::index_modules().unwrap();
    boot::modprobe("nf_conntrack").unwrap();
    fs::write("/etc/modules-load.d/x.conf", "nf_conntrack\n").unwrap();
    let mut set_by_files = BTreeMap::new();
    for set in 0..SETS {
        write_files(&mut Numbers(set));
        let files = persistence::files(Path::new("/"));
        let settings: Vec<_> =
            files.by_path.iter().filter(|(path, _)| path.contains("sysctl")).collect();
        for setter in [Setter::Systemd, Setter::Procps] {
            for (key, before) in BEFORE {
                fs::write(path_of(key), before).unwrap();
            }
            setter.set_what_it_can().unwrap();
            let has_systemd = setter == Setter::Systemd;
            let machine = Machine { has_systemd, ..persistence::machine(Path::new("/"), None) };
            let foretold = Persistence::of(&files, &machine);
            for (key, before) in BEFORE {
                let after = foretold.after_reboot.get(key);
                let expected = after.map_or(before, |after| after.value.as_str());
                let found = fs::read_to_string(path_of(key)).unwrap();
                assert_eq!(
                    found.trim(),
                    expected,
                    "set {set}, {setter:?}, {key}: {after:?}; {settings:#?}"
                );
                *set_by_files.entry((key, setter)).or_insert(0) += u32::from(after.is_some());
            }
        }
    }
    assert_eq!(set_by_files.len(), 2 * BEFORE.len());
    for (what, sets) in set_by_files {
        assert!(sets > 0, "no set of files sets {what:?}");
    }
}
