//! What outlasts a reboot: changes are made and confirmed in one machine, and others start with the files that it kept. The
//! distribution's own programs set those up; nobody sets a value by hand. `cargo xtask` runs each in a machine of its own.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use ctwatch::{
    advise::persistence::Persistence,
    change::{persist, record::Place},
    clock,
    host::{
        namespace::{NamespaceTarget, NetworkNamespace},
        persistence,
    },
};
use ctwatch_lab::{boot, modules, wait};
use serde_json::{Value, json};

use crate::observed::ctwatch;

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
const STATE: &str = "/var/lib/ctwatch";
/// What is handed on from one machine to the next.
const KEPT: [&str; 2] = ["/etc", STATE];
const FILES: [&str; 4] =
    [persist::MODULES_FILE, persist::MODPROBE_FILE, persist::SYSCTL_FILE, persist::UDEV_FILE];

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

/// Remembers a plan as `ctwatch apply` does when it has shown one: from what is in force to what is wanted.
fn remember_plan() {
    let namespace = NetworkNamespace::open(&NamespaceTarget::OwnNamespace).unwrap();
    let now = values();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let advice = |(path, key, to): (&str, &str, &str)| {
        json!({
            "id": key, "what": "what", "risk": "risk", "is_unasked": false, "commands": [], "refused_share": 0.0,
            "changes": [{"key": key, "from": number(&now[path]), "to": number(to)}],
        })
    };
    let plan = json!({
        "schema": 1,
        "boottime_ns": clock::boottime_ns(),
        "place": Place::now(&namespace).unwrap(),
        "cause": "growth",
        "explanation": "more is wanted than fits",
        "before": {
            "seconds": 1.0, "entries": 0, "limit": number(&now[LIMIT]), "new_per_s": 0.0, "refused_per_s": 0.0,
            "refused_share": 0.0,
        },
        "entry_bytes": 256,
        "advice": WANTED.map(advice),
    });
    fs::create_dir_all(STATE).unwrap();
    fs::write(format!("{STATE}/plan.json"), plan.to_string()).unwrap();
}

/// Runs ctwatch, which must succeed, and returns what it printed.
#[track_caller]
fn run(arguments: &[&str]) -> String {
    let output = Command::new(ctwatch()).args(arguments).output().unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}{complained}");
    said
}

/// What ctwatch says that became of the only change set.
#[track_caller]
fn status() -> String {
    let changes: Value = serde_json::from_str(&run(&["changes", "--json"])).unwrap();
    let changes = changes["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    changes[0]["status"].as_str().unwrap().to_owned()
}

#[test]
fn reboot_0_changes_are_made() {
    boot::index_modules().unwrap();
    boot::modprobe("nf_conntrack").unwrap();
    remember_plan();
    let keys = WANTED.map(|(_, key, _)| key);
    let options = ["--yes", "--no-look-after", "--confirm-within", "1h"];
    run(&[&["apply"], keys.as_slice(), options.as_slice()].concat());
    assert_eq!(values(), wanted());
    for file in FILES {
        assert!(!fs::exists(file).unwrap(), "{file} is not there before it is asked for");
    }
    boot::keep("/dev/ttyS1", &KEPT).unwrap();

    // Somebody else's file would win: nothing is written then.
    let other = "/etc/sysctl.d/99-other.conf";
    fs::write(other, "# theirs\nnet/nf_conntrack_max = 65536\n").unwrap();
    let refused = Command::new(ctwatch()).args(["confirm", "--persist"]).output().unwrap();
    let complained = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{complained}");
    assert!(complained.contains("99-other.conf line 2"), "{complained}");
    assert!(FILES.iter().all(|file| !fs::exists(file).unwrap()));
    fs::remove_file(other).unwrap();

    let said = run(&["confirm", "--persist"]);
    for file in FILES {
        assert!(said.contains(&format!("wrote {file}")), "{said}");
    }
    assert_eq!(status(), "persisted");
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
    assert_eq!(status(), "lapsed");
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
    assert_eq!(status(), "persisted");

    // Undone, nothing of it is left.
    run(&["rollback"]);
    for file in FILES {
        assert!(!fs::exists(file).unwrap(), "{file} is gone");
    }
    let before = values();
    for (path, _, value) in WANTED {
        assert_ne!(before[path], value);
    }
    assert_eq!(status(), "rolled_back");
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
    assert_eq!(status(), "persisted");

    // Without the rule of udev's nothing makes the settings of a module that comes late: but its buckets it is given.
    fs::remove_file(persist::UDEV_FILE).unwrap();
    fs::remove_file(persist::MODULES_FILE).unwrap();
    let ids = foretold().findings.iter().map(|finding| finding.id.clone()).collect::<Vec<_>>();
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
