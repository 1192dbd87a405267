//! `iptables-restore` and `ip6tables-restore`, both as they were and as they are now on top of nf_tables.

use ctwatch::blocklist::Blocklist;
use ctwatch_lab::{Unpacked, skip};

use super::{assert_only_others_open_entries, block, blocked, format, list, many, odd, programs};

/// The two programs of each name: with the kernel's ip_tables, and with nf_tables.
pub(super) const VARIANTS: [&str; 2] = ["legacy", "nft"];
const PROGRAMS: [&str; 2] = ["iptables", "ip6tables"];

/// Makes `iptables` and the like the ones of this variant, as update-alternatives(1) does; `false`, and said, where this
/// kernel has no raw table for them.
pub(super) fn use_variant(unpacked: &Unpacked, variant: &str) -> bool {
    for program in PROGRAMS {
        for rest in ["", "-restore", "-save"] {
            let (from, to) = (format!("{program}{rest}"), format!("{program}-{variant}{rest}"));
            unpacked.run_well("ln", &["-sfn", &to, &format!("/usr/sbin/{from}")], "").unwrap();
        }
        let output = unpacked.run(program, &["-t", "raw", "-S"], "").unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            skip(&format!("{program}-{variant} cannot run here: {}", said.trim()));
            return false;
        }
    }
    true
}

/// How many packets each rule of a chain that drops has dropped.
pub(super) fn dropped(unpacked: &Unpacked, program: &str, chain: &str) -> Vec<u64> {
    let saved = unpacked.run_well(&format!("{program}-save"), &["-t", "raw", "-c"], "").unwrap();
    let rule = format!("] -A {chain} ");
    let lines = saved.lines().filter(|line| line.contains(&rule) && line.ends_with("-j DROP"));
    let packets = lines.map(|line| line.trim_start_matches('[').split(':').next().unwrap());
    packets.map(|packets| packets.parse().unwrap()).collect()
}

/// Loads a list as its own comment says, once it is said to be well formed.
fn load(unpacked: &Unpacked, program: &str, list: &Blocklist) -> String {
    let text = (format(program).render)(list);
    unpacked.write("/root/list", &text).unwrap();
    let restore = format!("{program}-restore");
    for arguments in
        [["--noflush", "--test", "/root/list"].as_slice(), &["--noflush", "/root/list"]]
    {
        unpacked.run_well(&restore, arguments, "").unwrap();
    }
    text
}

#[test]
fn who_is_in_iptables_rules_opens_no_entry() {
    let Some((gateway, unpacked)) = programs() else { return };
    for variant in VARIANTS.into_iter().filter(|variant| use_variant(&unpacked, variant)) {
        for program in PROGRAMS {
            // What the operator has there stays.
            unpacked
                .run_well(program, &["-t", "raw", "-A", "PREROUTING", "-p", "esp"], "")
                .unwrap();
            for _twice in 0..2 {
                let text = load(&unpacked, program, &blocked());
                let commands = text.lines().filter_map(|line| line.strip_prefix("#   "));
                assert_eq!(commands.clone().count(), 1);
                for command in commands {
                    unpacked.run_well("sh", &["-c", command], "").unwrap();
                }
            }
            let rules = unpacked.run_well(program, &["-t", "raw", "-S", "PREROUTING"], "").unwrap();
            let rules: Vec<&str> = rules.lines().collect();
            let expected =
                ["-P PREROUTING ACCEPT", "-A PREROUTING -j ctwatch", "-A PREROUTING -p esp"];
            assert_eq!(rules, expected, "{variant}");
        }
        assert_only_others_open_entries(&gateway);
        for program in PROGRAMS {
            assert_eq!(dropped(&unpacked, program, "ctwatch"), [5], "{variant} {program}");
            unpacked.run_well(program, &["-t", "raw", "-F"], "").unwrap();
        }
    }
}

#[test]
fn an_iptables_rule_ends_by_itself() {
    let Some((gateway, unpacked)) = programs() else { return };
    for variant in VARIANTS.into_iter().filter(|variant| use_variant(&unpacked, variant)) {
        let mut past = blocked();
        past.wall_ns -= 601 * 1_000_000_000;
        past.blocks.push(block("10.0.1.67", 1200, "a longer one"));
        for program in PROGRAMS {
            load(&unpacked, program, &past);
            unpacked
                .run_well(program, &["-t", "raw", "-I", "PREROUTING", "-j", "ctwatch"], "")
                .unwrap();
        }
        ctwatch_lab::counters::flush(gateway.gateway()).unwrap();
        for source in ["10.0.1.66", "10.0.1.67", "fd00:10::66"] {
            let flows = ctwatch_lab::FlowPlan::udp(crate::observed::ip(source), 5);
            flows.send(gateway.client()).unwrap();
        }
        crate::observed::wait_for_entries(&gateway, 10);
        assert_eq!(dropped(&unpacked, "iptables", "ctwatch"), [0, 5], "{variant}");
        for program in PROGRAMS {
            unpacked.run_well(program, &["-t", "raw", "-F"], "").unwrap();
        }
    }
}

#[test]
fn iptables_takes_odd_lists_and_each_list_takes_the_place_of_the_one_before() {
    let Some((_gateway, unpacked)) = programs() else { return };
    for variant in VARIANTS.into_iter().filter(|variant| use_variant(&unpacked, variant)) {
        for (program, expected) in [
            ("iptables", vec!["10.0.1.66/32", "10.0.1.66/32", "10.9.0.0/16", "all"]),
            ("ip6tables", vec!["all", "::ffff:10.0.1.67/128", "2001:db8::/64"]),
        ] {
            load(
                &unpacked,
                program,
                &list(vec![block("10.0.1.7", 600, "before"), block("fd00::7", 600, "before")]),
            );
            load(&unpacked, program, &odd());
            let rules = unpacked.run_well(program, &["-t", "raw", "-S", "ctwatch"], "").unwrap();
            let rules: Vec<&str> = rules.lines().filter(|line| line.starts_with("-A")).collect();
            let source = |rule: &&str| match rule.split_once("-s ") {
                Some((_, rest)) => rest.split(' ').next().unwrap().to_owned(),
                None => "all".to_owned(),
            };
            assert_eq!(
                rules.iter().map(source).collect::<Vec<_>>(),
                expected,
                "{variant}: {rules:?}"
            );
            assert!(rules.iter().all(|rule| rule.ends_with("-j DROP")), "{rules:?}");
        }
    }
}

#[test]
fn iptables_takes_100_000_addresses() {
    let Some((_gateway, unpacked)) = programs() else { return };
    for variant in VARIANTS.into_iter().filter(|variant| use_variant(&unpacked, variant)) {
        let text = (format("iptables").render)(&many(100_000));
        unpacked.write("/root/list", &text).unwrap();
        unpacked.run_well("iptables-restore", &["--noflush", "/root/list"], "").unwrap();
        assert_eq!(dropped(&unpacked, "iptables", "ctwatch").len(), 100_000, "{variant}");
    }
}
