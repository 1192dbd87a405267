//! fail2ban with the files that come with the format: its filter reads each line, and its server blocks and lets in again.

use ctwatch::blocklist::ruleset;
use ctwatch_lab::{Unpacked, wait};
use serde_json::Value;

use super::{assert_only_others_open_entries, block, blocked, format, odd, programs};

/// The file that the jail watches.
const LOG: &str = "/var/log/ctwatch-blocklist.log";

/// Puts the format's files where they belong.
fn drop_in(unpacked: &Unpacked) {
    for file in format("fail2ban").files {
        unpacked.write(file.path, file.text).unwrap();
    }
}

/// What `fail2ban-regex` finds in a list with our filter: each address, and the second of it.
fn found(unpacked: &Unpacked, text: &str) -> Vec<(String, i64)> {
    unpacked.write(LOG, text).unwrap();
    let arguments = ["--out", "<ip> <time>", LOG, "/etc/fail2ban/filter.d/ctwatch.conf"];
    let printed = unpacked.run_well("fail2ban-regex", &arguments, "").unwrap();
    let lines = printed.lines().map(|line| line.split_once(' ').unwrap());
    lines
        .map(|(address, second)| (address.to_owned(), second.parse::<f64>().unwrap() as i64))
        .collect()
}

#[test]
fn fail2ban_s_filter_finds_address_and_date_of_each_line() {
    let Some((_gateway, unpacked)) = programs() else { return };
    drop_in(&unpacked);
    let mut list = odd();
    list.wall_ns = 1_790_000_000_999_999_999;
    list.blocks.push(block("fd00:10::66", 600, "block 10.0.1.9 for 5 s: x"));
    let text = (format("fail2ban").render)(&list);
    let found = found(&unpacked, &text);
    assert!(found.iter().all(|(_, second)| *second == 1_790_000_000), "{found:?}");
    let addresses: Vec<&str> = found.iter().map(|(address, _)| address.as_str()).collect();
    // It takes a mapped address for what it stands for, and `::` for none.
    let expected = [
        "10.0.1.66",
        "10.0.1.66",
        "10.9.0.0/16",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "8000::/1",
        "10.0.1.67",
        "2001:db8::/64",
        "fd00:10::66",
    ];
    assert_eq!(addresses, expected);
    assert_eq!(text.lines().count(), expected.len() + 1);
}

/// What is blocked in ctwatch's own sets, each with its comment.
fn in_sets(unpacked: &Unpacked) -> Vec<(String, String)> {
    let printed =
        unpacked.run_well("nft", &["--json", "list", "table", "inet", "ctwatch"], "").unwrap();
    let json: Value = serde_json::from_str(&printed).unwrap();
    let sets = json["nftables"].as_array().unwrap().iter().filter_map(|each| each.get("set"));
    let elements = sets.filter_map(|set| set["elem"].as_array()).flatten();
    let mut found: Vec<_> = elements
        .map(|element| {
            let (value, comment) = (&element["elem"]["val"], &element["elem"]["comment"]);
            let value = match value.get("prefix") {
                Some(prefix) => format!("{}/{}", prefix["addr"].as_str().unwrap(), prefix["len"]),
                None => value.as_str().unwrap().to_owned(),
            };
            (value, comment.as_str().unwrap().to_owned())
        })
        .collect();
    found.sort();
    found
}

fn addresses(unpacked: &Unpacked) -> Vec<String> {
    in_sets(unpacked).into_iter().map(|(address, _)| address).collect()
}

#[track_caller]
fn wait_for_addresses(unpacked: &Unpacked, expected: &[&str]) {
    let waited = wait::until(wait::PATIENCE, "the blocks of fail2ban", || {
        let is_there = unpacked.run("nft", &["list", "table", "inet", "ctwatch"], "")?;
        Ok((is_there.status.success() && addresses(unpacked) == expected).then_some(()))
    });
    if let Err(error) = waited {
        let said = unpacked.read("/var/log/fail2ban").unwrap();
        panic!("{error}: {expected:?}, not {:?}; fail2ban said:\n{said}", addresses(unpacked));
    }
}

#[test]
fn fail2ban_blocks_in_front_of_conntrack_and_lets_in_again() {
    let Some((gateway, mut unpacked)) = programs() else { return };
    drop_in(&unpacked);
    // The distribution's own jail wants a log that is not here.
    unpacked.write("/etc/fail2ban/jail.d/defaults-debian.conf", "").unwrap();
    unpacked.write("/run/fail2ban/made", "").unwrap();
    unpacked.write("/var/lib/fail2ban/made", "").unwrap();
    let mut list = blocked();
    list.blocks.push(block("10.0.2.0/24", 600, "holds \"80 %\" of the $(reboot) `x` é table"));
    list.blocks.push(block("2001:db8::/64", 600, &"é".repeat(200)));
    unpacked.write(LOG, &(format("fail2ban").render)(&list)).unwrap();
    unpacked
        .start("fail2ban-server", &["-xf", "--logtarget", "STDOUT", "start"], "/var/log/fail2ban")
        .unwrap();
    let all = ["10.0.1.66", "10.0.2.0/24", "2001:db8::/64", "fd00:10::66"];
    wait_for_addresses(&unpacked, &all);
    let comments: Vec<String> =
        in_sets(&unpacked).into_iter().map(|(_, comment)| comment).collect();
    assert!(
        comments[0].starts_with("since=")
            && comments[0].ends_with(" by=fail2ban why=holds 80 % of the table"),
        "{comments:?}"
    );
    assert!(
        comments[1].ends_with(" why=holds '80 %' of the $(reboot) `x` é table"),
        "{comments:?}"
    );
    assert!(comments[2].ends_with("éé") && comments[2].len() <= 127, "{comments:?}");
    assert_only_others_open_entries(&gateway);

    // A block that somebody has extended since is not fail2ban's any more.
    let mine = "add element inet ctwatch block6 { fd00:10::66 timeout 1h comment \"since=1 by=me why=x\" }";
    let again = format!("delete element inet ctwatch block6 {{ fd00:10::66 }}\n{mine}");
    unpacked.run_well("nft", &[&again], "").unwrap();
    let unban = ["set", "ctwatch", "unbanip", "10.0.1.66", "2001:db8::/64", "fd00:10::66"];
    unpacked.run_well("fail2ban-client", &unban, "").unwrap();
    wait_for_addresses(&unpacked, &["10.0.2.0/24", "fd00:10::66"]);

    // Where the table is gone, the next block makes it anew.
    unpacked.run_well("nft", &["delete", "table", ruleset::FAMILY, ruleset::TABLE], "").unwrap();
    let next = super::list(vec![block("10.0.7.7", 600, "the next list")]);
    unpacked.write("/var/log/next", &(format("fail2ban").render)(&next)).unwrap();
    unpacked.run_well("mv", &["/var/log/next", LOG], "").unwrap();
    wait_for_addresses(&unpacked, &["10.0.7.7"]);
    unpacked.run_well("fail2ban-client", &["stop"], "").unwrap();
    wait_for_addresses(&unpacked, &[]);
}
