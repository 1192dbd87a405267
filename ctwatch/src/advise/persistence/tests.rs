//! Machines with the files that people write, and what becomes of them.

use super::{files::File, *};
use crate::advise::settings::EXPECTATIONS;

const UDP: &str = "net.netfilter.nf_conntrack_udp_timeout";

fn systemd() -> Machine {
    Machine { has_systemd: true, module: Module::Loaded, values: BTreeMap::new() }
}

fn read(texts: &[(&str, &str)]) -> Persistence {
    Persistence::of(&Files::from_texts(texts.iter().copied()), &systemd())
}

fn ids(persistence: &Persistence) -> Vec<&str> {
    persistence.findings.iter().map(|finding| &*finding.id).collect()
}

fn after(persistence: &Persistence, key: &str) -> Option<(String, String, u32)> {
    let after = persistence.after_reboot.get(key)?;
    Some((after.value.clone(), after.place.file.clone(), after.place.line))
}

const LOADED_EARLY: (&str, &str) =
    ("/etc/modules-load.d/conntrack.conf", "# firewall\nnf_conntrack\n");

#[test]
fn of_files_with_one_name_the_first_directory_s_counts_and_of_others_the_last_name() {
    let found = read(&[
        LOADED_EARLY,
        ("/usr/lib/sysctl.d/10-a.conf", "net.netfilter.nf_conntrack_max = 1\n"),
        ("/run/sysctl.d/10-a.conf", "net.netfilter.nf_conntrack_max = 2\n"),
        ("/usr/lib/sysctl.d/99-b.conf", "\n; x\nnet/netfilter/nf_conntrack_max = 3\n"),
        ("/etc/sysctl.d/50-c.conf", "net.netfilter.nf_conntrack_max = 4"),
        ("/etc/sysctl.d/99-z.txt", "net.netfilter.nf_conntrack_max = 5"),
    ]);
    assert_eq!(
        after(&found, LIMIT),
        Some(("3".to_owned(), "/usr/lib/sysctl.d/99-b.conf".to_owned(), 3))
    );
    let order: Vec<&str> = found.assignments.iter().map(|found| found.value.as_str()).collect();
    assert_eq!(order, ["2", "4", "3"]);
    assert_eq!(ids(&found), ["overridden", "overridden"]);
}

#[test]
fn a_link_to_nothing_hides_a_file_and_a_link_is_named_by_where_it_leads() {
    let mut files = Files::from_texts([
        LOADED_EARLY,
        ("/usr/lib/sysctl.d/10-a.conf", "net.netfilter.nf_conntrack_max = 1\n"),
        ("/etc/sysctl.conf", "net.netfilter.nf_conntrack_udp_timeout=20\n"),
    ]);
    let link = |text: &str, to: &str| File { text: text.to_owned(), link_to: Some(to.to_owned()) };
    files.by_path.insert("/etc/sysctl.d/10-a.conf".to_owned(), link("", "/dev/null"));
    let unread = Persistence::of(&files, &systemd());
    assert_eq!(unread.after_reboot.len(), 0);
    assert_eq!(ids(&unread), ["not_read"]);
    let text = files.text("/etc/sysctl.conf").unwrap().to_owned();
    files
        .by_path
        .insert("/etc/sysctl.d/99-sysctl.conf".to_owned(), link(&text, "/etc/sysctl.conf"));
    let found = Persistence::of(&files, &systemd());
    assert_eq!(after(&found, UDP), Some(("20".to_owned(), "/etc/sysctl.conf".to_owned(), 1)));
    assert!(ids(&found).is_empty());
}

#[test]
fn without_systemd_the_old_file_is_read_last() {
    let files = Files::from_texts([
        ("/etc/modules", "nf-conntrack\n"),
        ("/etc/sysctl.conf", "net.nf_conntrack_max=1\n"),
        ("/etc/sysctl.d/zz.conf", "net.netfilter.nf_conntrack_max=2\n"),
    ]);
    let found = Persistence::of(&files, &Machine { has_systemd: false, ..systemd() });
    assert_eq!(after(&found, LIMIT), Some(("1".to_owned(), "/etc/sysctl.conf".to_owned(), 1)));
    assert_eq!(ids(&found), ["overridden", "limit_by_two_names"]);
}

#[test]
fn sysctls_before_the_module_are_lost_unless_something_sets_them_later() {
    let sysctls = (
        "/etc/sysctl.d/90-x.conf",
        "net.netfilter.nf_conntrack_max = 100000\nnet.netfilter.nf_conntrack_udp_timeout = 20\n",
    );
    let lost = read(&[sysctls]);
    assert_eq!((lost.after_reboot.len(), ids(&lost)), (0, vec!["before_the_module_loads"]));
    assert_eq!(lost.findings[0].line, Some(1));
    let rule = "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", \\\n  RUN+=\"/usr/lib/systemd/systemd-sysctl --prefix=/net/netfilter\"\n";
    for late in [
        ("/etc/udev/rules.d/91-x.rules", rule),
        (
            "/etc/modprobe.d/x.conf",
            "install nf_conntrack /sbin/modprobe -i nf_conntrack && /sbin/sysctl --system\n",
        ),
        (
            "/etc/systemd/system/x.service",
            "[Service]\nExecStart=/sbin/sysctl -p /etc/conntrack.conf\n",
        ),
    ] {
        let found = read(&[sysctls, late]);
        assert_eq!((found.after_reboot.len(), ids(&found)), (2, vec![]), "{}", late.0);
    }
    let not_the_alias = read(&[
        ("/etc/sysctl.d/1.conf", "net.nf_conntrack_max=9"),
        ("/etc/udev/rules.d/91-x.rules", rule),
    ]);
    // The prefix is of paths as they are written.
    assert_eq!(ids(&not_the_alias), ["before_the_module_loads"]);
    let commented = read(&[sysctls, ("/etc/udev/rules.d/91-x.rules", &format!("#{rule}"))]);
    assert_eq!(ids(&commented), ["before_the_module_loads"]);
}

#[test]
fn a_number_of_buckets_sets_the_limit_unless_a_sysctl_follows() {
    let options = ("/etc/modprobe.d/nf.conf", "options nf-conntrack \\\n hashsize=1000\n");
    let alone = read(&[LOADED_EARLY, options]);
    assert_eq!(after(&alone, HASHSIZE).unwrap().0, "1024");
    assert_eq!(alone.after_reboot[LIMIT].cause, Cause::EightTimesBuckets);
    assert_eq!(after(&alone, LIMIT), Some(("8192".to_owned(), options.0.to_owned(), 1)));
    assert_eq!(ids(&alone), ["limit_from_hashsize"]);
    let lost = read(&[options, ("/etc/sysctl.d/x.conf", "net.netfilter.nf_conntrack_max=1000")]);
    assert_eq!(ids(&lost), ["before_the_module_loads", "limit_from_hashsize"]);
    let followed =
        read(&[LOADED_EARLY, options, ("/etc/sysctl.d/x.conf", "net.nf_conntrack_max=1000")]);
    assert_eq!((after(&followed, LIMIT).unwrap().0.as_str(), ids(&followed)), ("1000", vec![]));
}

#[test]
fn a_number_of_buckets_with_spaces_keeps_the_module_from_loading() {
    for options in
        ["hashsize = 1024", "hashsize= 1024", "hashsize =1024", "hashsize=many", "hashsize"]
    {
        let found =
            read(&[("/etc/modprobe.d/a.conf", &format!("options nf_conntrack {options}\n"))]);
        assert_eq!(ids(&found), ["hashsize_without_number"], "{options}");
        assert!(found.after_reboot.is_empty());
    }
}

#[test]
fn of_several_options_lines_the_last_counts_and_the_command_line_is_last() {
    let found = read(&[
        ("/etc/modprobe.d/a.conf", "options nf_conntrack hashsize=1024 expect_hashsize=512\n"),
        ("/usr/lib/modprobe.d/b.conf", "options nf_conntrack hashsize=2048\n"),
        ("/proc/cmdline", "quiet nf_conntrack.hashsize=4096\n"),
        ("/etc/modprobe.d/b.txt", "options nf_conntrack hashsize=512\n"),
    ]);
    assert_eq!(after(&found, HASHSIZE), Some(("4096".to_owned(), "/proc/cmdline".to_owned(), 1)));
    assert_eq!(ids(&found), ["limit_from_hashsize", "overridden", "overridden"]);
}

#[test]
fn an_option_for_a_module_that_is_there_already_is_told() {
    let options = ("/etc/modprobe.d/nf.conf", "options nf_conntrack hashsize=1024\n");
    let files = Files::from_texts([options, LOADED_EARLY, ("/etc/sysctl.d/1", "")]);
    let built_in = Persistence::of(&files, &Machine { module: Module::BuiltIn, ..systemd() });
    assert_eq!((built_in.after_reboot.len(), ids(&built_in)), (0, vec!["hashsize_built_in"]));
    let values = BTreeMap::from([(HASHSIZE.to_owned(), "65536".to_owned())]);
    let loaded = Persistence::of(&files, &Machine { values, ..systemd() });
    assert_eq!(ids(&loaded), ["limit_from_hashsize", "hashsize_not_in_force", "differs_from_now"]);
}

#[test]
fn names_and_values_that_set_nothing_are_told() {
    let values =
        BTreeMap::from([LIMIT, UDP, EXPECTATIONS].map(|key| (key.to_owned(), "30".to_owned())));
    let files = Files::from_texts([
        LOADED_EARLY,
        (
            "/etc/sysctl.d/x.conf",
            "net.netfilter.nf_conntrack_count = 30\n\
             net.ipv4.netfilter.ip_conntrack_max = 30\n\
             net.ipv4.ip_conntrack_max = 30\n\
             net.netfilter.nf_conntrack_max = 30 # plenty\n\
             net.netfilter.nf_conntrack_upd_timeout = 30\n\
             -net.netfilter.nf_conntrack_dccp_timeout_open = 30\n\
             net.netfilter.nf_conntrack_udp_timeout = 20\n",
        ),
        ("/etc/modprobe.d/x.conf", "options ip_conntrack hashsize=4096\n"),
    ]);
    let found = Persistence::of(&files, &Machine { values, ..systemd() });
    let told: Vec<(&str, Option<u32>)> =
        found.findings.iter().map(|finding| (&*finding.id, finding.line)).collect();
    assert_eq!(
        told,
        [
            ("read_only", Some(1)),
            ("legacy_name", Some(2)),
            ("legacy_name", Some(3)),
            ("legacy_module", Some(1)),
            ("not_a_number", Some(4)),
            ("unknown_name", Some(5)),
            ("differs_from_now", Some(7)),
        ]
    );
    let legacy = &found.findings[1].what_to_do;
    assert!(legacy.contains("`net.netfilter.nf_conntrack_max = 30`"), "{legacy}");
}

#[test]
fn a_wild_card_stands_for_what_is_named_nowhere() {
    let found = read(&[
        LOADED_EARLY,
        ("/etc/sysctl.d/10.conf", "net.netfilter.nf_conntrack_udp_timeout = 20\n"),
        (
            "/etc/sysctl.d/20.conf",
            "net.netfilter.nf_conntrack_*_timeout = 25\n-net.netfilter.nf_conntrack_gre_timeout\n-net.netfilter.nf_conntrack_u*\n",
        ),
    ]);
    assert_eq!(after(&found, UDP).unwrap().0, "20");
    assert_eq!(after(&found, "net.netfilter.nf_conntrack_icmp_timeout").unwrap().0, "25");
    assert_eq!(after(&found, "net.netfilter.nf_conntrack_gre_timeout"), None);
    assert_eq!(after(&found, "net.netfilter.nf_conntrack_generic_timeout").unwrap().0, "25");
    assert_eq!(after(&found, LIMIT), None);
}

proptest::proptest! {
    #[test]
    fn no_file_is_too_strange(text in "[ -~\\n\\\\=*?\\[\\]#;/.]{0,300}") {
        let paths = ["/etc/sysctl.d/a.conf", "/etc/modprobe.d/a.conf", "/etc/modules-load.d/a.conf", "/etc/udev/rules.d/a.rules", "/proc/cmdline"];
        read(&paths.map(|path| (path, text.as_str())));
    }
}
