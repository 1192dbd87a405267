//! What outlasts a reboot: changes are made and confirmed in one machine, and others start with the files that it kept. The
//! distribution's own programs set those up; nobody sets a value by hand. `cargo xtask` runs each in a machine of its own.

use std::{collections::BTreeMap, fs};

use ctwatch_lab::{boot, wait};

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/sys/module/nf_conntrack/parameters/hashsize";
const ESTABLISHED: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
const UDP_STREAM: &str = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";

const WANTED: [(&str, &str); 4] =
    [(BUCKETS, "200192"), (LIMIT, "200000"), (ESTABLISHED, "86400"), (UDP_STREAM, "180")];
const KEPT: [&str; 2] = ["/etc", "/var/lib/ctwatch"];

type Values = BTreeMap<&'static str, String>;

fn values() -> Values {
    WANTED
        .iter()
        .map(|(path, _)| (*path, fs::read_to_string(path).unwrap().trim().to_owned()))
        .collect()
}

fn wanted() -> Values {
    WANTED.iter().map(|(path, value)| (*path, (*value).to_owned())).collect()
}

#[test]
fn reboot_0_changes_are_made() {
    boot::index_modules().unwrap();
    boot::modprobe("nf_conntrack").unwrap();
    for (path, value) in WANTED {
        fs::write(path, value).unwrap();
    }
    assert_eq!(values(), wanted());
    boot::keep("/dev/ttyS1", &KEPT).unwrap();
    fs::write("/etc/modules-load.d/ctwatch.conf", "nf_conntrack\n").unwrap();
    fs::write("/etc/modprobe.d/ctwatch.conf", "options nf_conntrack hashsize=200192\n").unwrap();
    fs::write("/etc/sysctl.d/90-ctwatch.conf", "net.netfilter.nf_conntrack_buckets=200192\nnet.netfilter.nf_conntrack_max=200000\nnet.netfilter.nf_conntrack_tcp_timeout_established=86400\nnet.netfilter.nf_conntrack_udp_timeout_stream=180\n").unwrap();
    fs::write("/etc/udev/rules.d/90-ctwatch.rules", "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", RUN+=\"/usr/lib/systemd/systemd-sysctl --prefix=/net/netfilter --prefix=/net/nf_conntrack_max\"\n").unwrap();
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
    for (path, value) in WANTED {
        assert_ne!(defaults[path], value, "{path} is the kernel's default again");
    }
}

#[test]
fn reboot_2_with_the_module_loaded_early() {
    boot::index_modules().unwrap();
    boot::load_listed_modules().unwrap();
    assert_eq!(values()[BUCKETS], "200192", "the module was given its buckets");
    assert_eq!(values()[LIMIT], "1601536", "and took eight times that as the limit");
    boot::set_sysctls().unwrap();
    assert_eq!(values(), wanted());
    let udev = boot::Udev::start().unwrap();
    udev.announce_all().unwrap();
    assert_eq!(values(), wanted());
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

    // Without the rule of udev's, nothing sets the limit of a module that comes late.
    fs::remove_file("/etc/udev/rules.d/90-ctwatch.rules").unwrap();
    udev.reload().unwrap();
    boot::remove_first_rule().unwrap();
    boot::unload_conntrack().unwrap();
    boot::add_first_rule().unwrap();
    udev.settle().unwrap();
    let without = values();
    assert_eq!(without[BUCKETS], "200192");
    assert_eq!(without[LIMIT], "1601536", "eight times the buckets, silently");
    assert_ne!(without[ESTABLISHED], "86400");
}
