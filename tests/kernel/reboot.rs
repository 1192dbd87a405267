//! What outlasts a reboot: changes are made and confirmed in one machine, and others start with the files that it kept. The
//! distribution's own programs set those up; nobody sets a value by hand. `cargo xtask` runs each in a machine of its own.

use std::{collections::BTreeMap, fs, path::Path};

use ctwatch::{
    advise::{
        advice::Change,
        persistence::{Machine, Persistence},
    },
    change::persist::{self, Force, Request, plan_files},
    host::{
        namespace::{NamespaceTarget, NetworkNamespace},
        persistence, settings,
    },
};
use ctwatch_lab::{boot, modules, wait};

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/sys/module/nf_conntrack/parameters/hashsize";
const ESTABLISHED: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
const UDP_STREAM: &str = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";

/// Where each value is, its key, and what it is made.
const WANTED: [(&str, &str, &str); 4] = [
    (BUCKETS, "nf_conntrack.hashsize", "200192"),
    (LIMIT, "net.netfilter.nf_conntrack_max", "200000"),
    (ESTABLISHED, "net.netfilter.nf_conntrack_tcp_timeout_established", "86400"),
    (UDP_STREAM, "net.netfilter.nf_conntrack_udp_timeout_stream", "180"),
];
const KEPT: [&str; 2] = ["/etc", "/var/lib/ctwatch"];

type Values = BTreeMap<&'static str, String>;

fn values() -> Values {
    let read = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    WANTED.iter().map(|(path, ..)| (*path, read(path))).collect()
}

fn wanted() -> Values {
    WANTED.iter().map(|(path, _, value)| (*path, (*value).to_owned())).collect()
}

/// What the machine's files will do, as ctwatch reads them.
fn foretold() -> Persistence {
    let machine = persistence::machine(Path::new("/"), None);
    Persistence::of(&persistence::files(Path::new("/")), &machine)
}

/// Of the values, those that the files will set when the machine starts; of the others nothing is foretold.
#[track_caller]
fn assert_as_foretold() {
    let foretold = foretold().after_reboot;
    let now = values();
    for (path, key, _) in WANTED {
        if let Some(after) = foretold.get(key) {
            assert_eq!(now[path], after.value, "{key}: {after:?}");
        }
    }
}

#[test]
fn reboot_0_changes_are_made() {
    boot::index_modules().unwrap();
    boot::modprobe("nf_conntrack").unwrap();
    for (path, _, value) in WANTED {
        fs::write(path, value).unwrap();
    }
    assert_eq!(values(), wanted());
    boot::keep("/dev/ttyS1", &KEPT).unwrap();
    let root = Path::new("/");
    let namespace = NetworkNamespace::open(&NamespaceTarget::OwnNamespace).unwrap();
    let settings = settings::read_in(&namespace).unwrap();
    let machine: Machine = persistence::machine(root, Some(&settings));
    let changes = WANTED.map(|(_, key, to)| Change {
        key: key.to_owned(),
        from: String::new(),
        to: to.to_owned(),
    });
    let request = Request {
        set: 1,
        when: "today".to_owned(),
        changes: &changes,
        child_namespace: None,
        force: Force::Refuse,
    };
    let plan = plan_files(&persistence::files(root), &machine, &request).unwrap();
    assert_eq!(plan.files.len(), 4, "{plan:?}");
    for file in plan.files {
        fs::write(file.path, file.new).unwrap();
    }
    boot::keep("/dev/ttyS2", &KEPT).unwrap();
}

/// All that a distribution does before it starts services, without the module.
fn started_without_module() -> boot::Udev {
    boot::index_modules().unwrap();
    let udev = boot::Udev::start().unwrap();
    udev.announce_all().unwrap();
    boot::set_sysctls().unwrap();
    assert!(!fs::exists(LIMIT).unwrap(), "the module is not loaded yet");
    udev
}

#[test]
fn reboot_1_before_they_are_confirmed() {
    let udev = started_without_module();
    boot::load_listed_modules().unwrap();
    boot::add_first_rule().unwrap();
    udev.settle().unwrap();
    let defaults = values();
    for (path, _, value) in WANTED {
        assert_ne!(defaults[path], value, "{path} is the kernel's default again");
    }
}

#[test]
fn reboot_2_with_the_module_loaded_early() {
    boot::index_modules().unwrap();
    boot::load_listed_modules().unwrap();
    let first = values();
    assert_eq!(first[BUCKETS], "200192", "the module was given its buckets");
    assert_eq!(first[LIMIT], "1601536", "and took eight times that as the limit");
    boot::set_sysctls().unwrap();
    assert_eq!(values(), wanted());
    assert_as_foretold();
    let udev = boot::Udev::start().unwrap();
    udev.announce_all().unwrap();
    assert_eq!(values(), wanted());
    assert_eq!(foretold().findings, []);
}

#[test]
fn reboot_3_with_the_module_loaded_late() {
    let udev = started_without_module();
    // A firewall's first rule makes the kernel load it.
    boot::add_first_rule().unwrap();
    wait::until(wait::PATIENCE, "the values to be in force", || {
        Ok((values() == wanted()).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", values()));
    udev.settle().unwrap();
    assert_eq!(values(), wanted());

    // Without the rule of udev's nothing makes the settings of a module that comes late: but its buckets it is given.
    fs::remove_file(persist::UDEV_FILE).unwrap();
    fs::remove_file(persist::MODULES_FILE).unwrap();
    let ids = foretold().findings.iter().map(|finding| finding.id).collect::<Vec<_>>();
    assert_eq!(ids, ["before_the_module_loads", "limit_from_hashsize"]);
    load_again(&udev);
    let without = values();
    assert_eq!(without[BUCKETS], "200192");
    assert_eq!(without[LIMIT], "1601536", "eight times the buckets, silently");
    assert_ne!(without[ESTABLISHED], "86400");
    assert_as_foretold();

    // Of several options lines the last in the order of the files' names counts, and the limit follows it.
    fs::write("/etc/modprobe.d/z.conf", "options nf-conntrack \\\n hashsize=1000\n").unwrap();
    load_again(&udev);
    assert_eq!(values()[LIMIT], "8192");
    assert_as_foretold();

    // With spaces around the `=` the module does not load, and neither does the rule that needs it.
    fs::write("/etc/modprobe.d/z.conf", "options nf_conntrack hashsize = 1000\n").unwrap();
    assert_eq!(foretold().findings[0].id, "hashsize_without_number");
    unload(&udev);
    boot::modprobe("nf_conntrack").unwrap_err();
    boot::add_first_rule().unwrap_err();
    assert!(!modules::is_conntrack_loaded());
}

fn load_again(udev: &boot::Udev) {
    unload(udev);
    boot::add_first_rule().unwrap();
    udev.settle().unwrap();
}

fn unload(udev: &boot::Udev) {
    udev.reload().unwrap();
    boot::remove_first_rule().unwrap();
    boot::unload_conntrack().unwrap();
    udev.settle().unwrap();
}
