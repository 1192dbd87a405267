//! `ipset restore`, and the rules of iptables that the list itself tells of.

use ctwatch_lab::{Unpacked, skip};

use super::iptables::{VARIANTS, dropped, use_variant};
use super::{assert_only_others_open_entries, block, blocked, format, list, many, odd, programs};

/// Loads a list as its own comment says.
fn load(unpacked: &Unpacked, text: &str) {
    unpacked.write("/root/list", text).unwrap();
    unpacked.run_well("ipset", &["restore", "-file", "/root/list"], "").unwrap();
}

/// The members of both sets: element, timeout and the rest, sorted.
fn members(unpacked: &Unpacked) -> Vec<(String, u64, String)> {
    let saved = unpacked.run_well("ipset", &["save"], "").unwrap();
    let mut members: Vec<_> = saved
        .lines()
        .filter_map(|line| {
            let (element, rest) =
                line.strip_prefix("add ")?.split_once(' ')?.1.split_once(" timeout ")?;
            let (timeout_s, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            Some((element.to_owned(), timeout_s.parse().unwrap(), rest.to_owned()))
        })
        .collect();
    members.sort();
    members
}

fn ipset_is_here(unpacked: &Unpacked) -> bool {
    let output = unpacked.run("ipset", &["create", "probe", "hash:net", "comment"], "").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        skip(&format!("this kernel has no ipset: {}", said.trim()));
        return false;
    }
    unpacked.run_well("ipset", &["destroy", "probe"], "").unwrap();
    true
}

#[test]
fn who_is_in_an_ipset_opens_no_entry() {
    let Some((gateway, unpacked)) = programs() else { return };
    if !ipset_is_here(&unpacked) {
        return;
    }
    let text = (format("ipset").render)(&blocked());
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    assert_eq!(commands.len(), 2);
    for variant in VARIANTS {
        if !use_variant(&unpacked, variant) {
            continue;
        }
        load(&unpacked, &text);
        for _twice in 0..2 {
            for command in &commands {
                unpacked.run_well("sh", &["-c", command], "").unwrap();
            }
        }
        assert_only_others_open_entries(&gateway);
        for program in ["iptables", "ip6tables"] {
            assert_eq!(dropped(&unpacked, program, "PREROUTING"), [5], "{variant} {program}");
            unpacked.run_well(program, &["-t", "raw", "-F"], "").unwrap();
        }
    }
}

#[test]
fn an_ipset_takes_odd_lists_and_each_list_extends_it() {
    let Some((_gateway, unpacked)) = programs() else { return };
    if !ipset_is_here(&unpacked) {
        return;
    }
    load(
        &unpacked,
        &(format("ipset").render)(&list(vec![
            block("10.0.1.66", 30, "an older one"),
            block("10.0.1.7", 600, "another"),
        ])),
    );
    load(&unpacked, &(format("ipset").render)(&odd()));
    let members = members(&unpacked);
    let of = |element: &str| members.iter().find(|member| member.0 == element).unwrap();
    let mut elements: Vec<&str> = members.iter().map(|member| member.0.as_str()).collect();
    elements.retain(|element| *element != "10.9.0.0/16");
    assert_eq!(
        elements,
        [
            "0.0.0.0/1",
            "10.0.1.66",
            "10.0.1.7",
            "128.0.0.0/1",
            "2001:db8::/64",
            "8000::/1",
            "::/1",
            "::ffff:10.0.1.67",
        ]
    );
    // Its timeout is the newer list's, and so is why.
    assert!(of("10.0.1.66").1 > 500, "{members:?}");
    assert_eq!(of("10.0.1.66").2, "comment \"holds '80 %' of the table, once more\"");
    assert_eq!(of("8000::/1").2, "");
    assert_eq!(of("0.0.0.0/1").2.chars().filter(|each| *each == 'é').count(), 127);
    // The one whose time was a second leaves by itself.
    ctwatch_lab::wait::until(ctwatch_lab::wait::PATIENCE, "the end of a block", || {
        let saved = unpacked.run_well("ipset", &["save"], "")?;
        Ok((!saved.contains("10.9.0.0/16")).then_some(()))
    })
    .unwrap();
}

#[test]
fn an_ipset_takes_100_000_addresses_twice() {
    let Some((_gateway, unpacked)) = programs() else { return };
    if !ipset_is_here(&unpacked) {
        return;
    }
    let text = (format("ipset").render)(&many(100_000));
    for _twice in 0..2 {
        load(&unpacked, &text);
        assert_eq!(members(&unpacked).len(), 100_000);
    }
}
