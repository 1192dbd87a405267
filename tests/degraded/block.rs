//! Sources are kept out by real rules while real packets come: what is dropped is counted, nothing is half done, and all of it
//! can be taken back, whatever somebody else has made of the rules.

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use ctwatch::blocklist::ruleset::ELEMENTS_MAX;
use ctwatch_lab::{Flood, FlowPlan, Gateway, counters, wait};
use serde_json::Value;

use crate::nobody::Nobody;
use crate::observed::{ctwatch, gateway, ip, wait_for_entries};

const ABUSER: &str = "10.0.1.66";

struct Lab {
    gateway: Gateway,
    state: tempfile::TempDir,
}

impl Lab {
    fn new() -> Option<Self> {
        Some(Self { gateway: gateway()?, state: tempfile::tempdir().unwrap() })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ctwatch());
        command
            .args(arguments)
            .args(["--netns", self.gateway.gateway().name()])
            .env("CTWATCH_STATE_DIR", self.state.path().join("state"));
        command
    }

    /// What it printed; it ended well.
    #[track_caller]
    fn fine(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it complained of; it ended with this status.
    #[track_caller]
    fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", said(&output));
        assert_eq!(output.stdout, b"");
        said(&output)
    }

    #[track_caller]
    fn blocks(&self) -> Value {
        serde_json::from_str(&self.fine(&["blocks", "--json"])).unwrap()
    }

    fn sources(&self) -> Vec<String> {
        let blocks = self.blocks();
        let source = |block: &Value| block["source"].as_str().unwrap().to_owned();
        blocks["blocks"].as_array().unwrap().iter().map(source).collect()
    }

    fn dropped(&self) -> u64 {
        self.blocks()["blocks"][0]["dropped_packets"].as_u64().unwrap()
    }

    fn wait_for_dropped(&self, packets: u64) {
        wait::until(wait::PATIENCE, &format!("{packets} dropped packets"), || {
            Ok((self.dropped() == packets).then_some(()))
        })
        .unwrap();
    }

    fn send(&self, source: &str, flows: u64) {
        FlowPlan::udp(ip(source), flows).send(self.gateway.client()).unwrap();
    }

    #[track_caller]
    fn nft(&self, script: &str) {
        let status = nft(&self.gateway, script).status().unwrap();
        assert!(status.success(), "{script}");
    }

    fn has_table(&self) -> bool {
        let mut list = nft(&self.gateway, "list table inet ctwatch");
        list.stderr(Stdio::null()).stdout(Stdio::null()).status().unwrap().success()
    }
}

fn nft(gateway: &Gateway, script: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", gateway.gateway().name(), "nft", script]);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_blocked_source_makes_no_entry_and_each_of_its_packets_is_counted() {
    let Some(lab) = Lab::new() else { return };
    for (abuser, other) in [(ABUSER, "10.0.1.2"), ("fd00:10::66", "fd00:10::2")] {
        lab.send(abuser, 300);
        lab.send(other, 20);
        wait_for_entries(&lab.gateway, 320);
        let text = lab.fine(&["block", abuser, "--why", "it floods"]);
        assert!(text.contains("ended 300 entries") && text.contains("it floods"), "{text}");
        assert_eq!(counters::entries(lab.gateway.gateway()).unwrap(), 20);
        lab.send(abuser, 1000);
        lab.wait_for_dropped(1000);
        assert_eq!(counters::entries(lab.gateway.gateway()).unwrap(), 20);
        let block = &lab.blocks()["blocks"][0];
        for (key, value) in [
            ("source", Value::from(abuser)),
            ("why", "it floods".into()),
            ("ended_entries", 300.into()),
            ("has_effect", true.into()),
            ("together", 1.into()),
        ] {
            assert_eq!(block[key], value, "{key} in {block}");
        }
        assert!(
            block["left_s"].as_u64().is_some_and(|left_s| (500..600).contains(&left_s)),
            "{block}"
        );
        lab.fine(&["unblock", abuser]);
        lab.send(abuser, 5);
        wait_for_entries(&lab.gateway, 25);
        lab.fine(&["unblock", "--all"]);
        counters::flush(lab.gateway.gateway()).unwrap();
    }
}

#[test]
fn a_network_is_blocked_as_one_and_lets_its_neighbours_alone() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["block", "10.0.1.0/24", "fd00:10:0:1::/64", "--now", "--keep-entries"]);
    for (blocked, other) in [("10.0.1.255", "10.0.2.0"), ("fd00:10:0:1::9", "fd00:10:0:2::9")] {
        lab.send(blocked, 10);
        lab.send(other, 3);
    }
    wait_for_entries(&lab.gateway, 6);
    lab.wait_for_dropped(10);
    assert!(lab.blocks()["blocks"][0]["ended_entries"].is_null());
}

#[test]
fn blocking_again_gives_the_time_anew_and_keeps_what_was_counted() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["block", ABUSER, "10.0.9.0/24", "--now", "--for", "60s", "--why", "first"]);
    let since = lab.blocks()["blocks"][0]["since"].clone();
    lab.send(ABUSER, 40);
    lab.wait_for_dropped(40);
    // Longer, and shorter.
    for (time, least, most) in [("2h", 7000, 7200), ("90s", 60, 90)] {
        lab.fine(&["block", ABUSER, "10.0.9.0/24", "--now", "--for", time]);
        let listed = lab.blocks();
        for block in listed["blocks"].as_array().unwrap() {
            assert!((least..=most).contains(&block["left_s"].as_u64().unwrap()), "{block}");
            assert_eq!((&block["since"], &block["why"]), (&since, &"first".into()), "{block}");
        }
    }
    assert_eq!(lab.dropped(), 40);
    lab.send(ABUSER, 2);
    lab.wait_for_dropped(42);
}

#[test]
fn who_is_blocked_is_let_in_again_by_itself() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["block", ABUSER, "--now", "--for", "2s"]);
    lab.send(ABUSER, 4);
    wait::until(wait::PATIENCE, "the end of the block", || {
        Ok(lab.sources().is_empty().then_some(()))
    })
    .unwrap();
    assert_eq!(counters::entries(lab.gateway.gateway()).unwrap(), 0);
    lab.send(ABUSER, 4);
    wait_for_entries(&lab.gateway, 4);
}

#[test]
fn who_must_not_be_blocked_is_not_and_neither_is_anybody_else_of_the_call() {
    let Some(lab) = Lab::new() else { return };
    let protected = lab.state.path().join("protected");
    fs::write(&protected, "10.7.0.0/16 # monitoring\n").unwrap();
    let file = ["--protected", protected.to_str().unwrap()];
    for (source, why) in [
        ("192.0.2.1", "router"),
        ("127.0.0.1", "this machine"),
        ("10.7.1.1", "monitoring"),
        ("0.0.0.0/0", "contains"),
        ("10.9.0.1", "--allow"),
    ] {
        let command = ["block", "10.0.1.1", source, "--allow", "10.9.0.0/16"];
        let said = lab.fails(1, &[&command[..], &file].concat());
        assert!(
            said.contains(&format!("{source} must not be blocked")) && said.contains(why),
            "{said}"
        );
        assert!(!lab.has_table(), "{said}");
    }
}

#[test]
fn what_makes_no_sense_is_told_and_changes_nothing() {
    let Some(lab) = Lab::new() else { return };
    for (arguments, why) in [
        (&["block", "10.0.1"][..], "neither an address"),
        (&["block", "10.0.1.66/24"], "10.0.1.0/24"),
        (&["block", ABUSER, "--for", "0s"], "at least 1s"),
        (&["block", ABUSER, "--for", "366d"], "at most 365d"),
        (&["block", "--file", "/nonexistent"], "cannot read"),
        (&["unblock"], "required"),
        (&["unblock", ABUSER, "--all"], "cannot be used"),
    ] {
        let said = lab.fails(2, arguments);
        assert!(said.contains(why), "{said}");
    }
    assert!(!lab.has_table());
    let said = lab.fails(1, &["unblock", ABUSER]);
    assert!(said.contains("10.0.1.66 is not blocked"), "{said}");
    lab.fine(&["block", "10.0.1.0/24", "10.0.3.3", "--now"]);
    let said = lab.fails(1, &["unblock", "10.0.3.3", ABUSER]);
    assert!(said.contains("around it or in it: 10.0.1.0/24"), "{said}");
    assert_eq!(lab.sources(), ["10.0.1.0/24", "10.0.3.3"]);
}

#[test]
fn networks_that_overlap_are_one_block_or_told_apart() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["block", "10.0.1.0/24", "10.0.5.5", "--now", "--for", "1h"]);
    let inside = lab.command(&["block", "10.0.1.7", "10.0.1.128/25", "--now"]).output().unwrap();
    assert!(said(&inside).contains("10.0.1.7 lies in 10.0.1.0/24"), "{}", said(&inside));
    let longer = lab.fails(1, &["block", "10.0.1.128/25", "--now", "--for", "2h"]);
    assert!(longer.contains("block 10.0.1.0/24 for longer"), "{longer}");
    let shorter = lab.fails(1, &["block", "10.0.0.0/16", "10.1.1.1", "--now"]);
    assert!(shorter.contains("contains 10.0.1.0/24"), "{shorter}");
    assert_eq!(lab.sources(), ["10.0.1.0/24", "10.0.5.5"]);
    lab.fine(&["block", "10.0.0.0/16", "--now", "--for", "2h"]);
    assert_eq!(lab.sources(), ["10.0.0.0/16", "10.0.5.5"]);
    let unblocked = lab.command(&["unblock", "10.0.5.5"]).output().unwrap();
    assert!(said(&unblocked).contains("still lies in 10.0.0.0/16"), "{}", said(&unblocked));
}

#[test]
fn a_list_is_blocked_in_one_transaction() {
    let Some(lab) = Lab::new() else { return };
    let list = lab.state.path().join("list");
    let line = |number: u32| {
        format!("{} # scan {number}\n", std::net::Ipv4Addr::from(0x0b00_0000 + number))
    };
    let lines: String = (0..5000).map(line).collect();
    fs::write(&list, format!("# who scanned\n{lines}::ffff:10.0.1.9\n")).unwrap();
    let blocked =
        lab.command(&["block", "--file", list.to_str().unwrap(), "--now"]).output().unwrap();
    assert!(blocked.status.success(), "{}", said(&blocked));
    let told = String::from_utf8(blocked.stdout.clone()).unwrap();
    assert_eq!(told.lines().filter(|line| line.contains(" since ")).count(), 20, "{told}");
    assert!(
        said(&blocked).contains("5001 are blocked, of whom 20 are listed here"),
        "{}",
        said(&blocked)
    );
    let blocks = lab.blocks();
    let blocks = blocks["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 5001);
    assert_eq!((&blocks[0]["source"], &blocks[1]["why"]), (&"10.0.1.9".into(), &"scan 0".into()));
    fs::write(&list, "10.0.1.1\n10.0.1.1/24 # host bits\n").unwrap();
    let said = lab.fails(2, &["block", "--file", list.to_str().unwrap(), "--now"]);
    assert!(said.contains("10.0.1.0/24"), "{said}");
}

#[test]
fn all_goes_with_unblock_all_but_what_somebody_else_has_put_there() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(lab.fine(&["unblock", "--all"]), "nobody is blocked or capped\n");
    lab.fine(&["block", ABUSER, "10.0.2.0/24", "--now"]);
    lab.fine(&["unblock", "--all"]);
    assert!(!lab.has_table());
    lab.fine(&["block", ABUSER, "--now"]);
    lab.nft("add chain inet ctwatch theirs; add rule inet ctwatch theirs counter");
    lab.fine(&["unblock", "--all"]);
    let left = nft(&lab.gateway, "list table inet ctwatch").output().unwrap();
    let left = String::from_utf8(left.stdout).unwrap();
    assert!(left.contains("chain theirs") && !left.contains("block"), "{left}");
    assert_eq!(lab.fine(&["unblock", "--all"]), "nobody is blocked or capped\n");
    // A rule of theirs that looks into a set of ours keeps all of it.
    lab.fine(&["block", ABUSER, "--now"]);
    lab.nft("add rule inet ctwatch theirs ip saddr @block4 counter");
    let said = lab.fails(1, &["unblock", "--all"]);
    assert!(said.contains("a rule of somebody else"), "{said}");
    assert_eq!(lab.sources(), [ABUSER]);
}

#[test]
fn what_somebody_has_changed_is_told_and_made_anew() {
    let Some(lab) = Lab::new() else { return };
    let block = || lab.fine(&["block", ABUSER, "--now"]);
    let moved = "delete chain inet ctwatch block; \
                 add chain inet ctwatch block { type filter hook prerouting priority 0; }";
    for change in [
        "flush chain inet ctwatch block",
        "insert rule inet ctwatch block accept",
        "delete chain inet ctwatch block",
        moved,
    ] {
        block();
        assert_eq!(lab.blocks()["problems"].as_array().unwrap().len(), 0);
        lab.nft(change);
        let listed = lab.blocks();
        assert_eq!(listed["problems"].as_array().unwrap().len(), 1, "{change}: {listed}");
        block();
        let listed = lab.blocks();
        assert_eq!(listed["problems"].as_array().unwrap().len(), 0, "{change}: {listed}");
        let before = lab.dropped();
        lab.send(ABUSER, 3);
        lab.wait_for_dropped(before + 3);
        assert_eq!(counters::entries(lab.gateway.gateway()).unwrap(), 0, "{change}");
    }
    lab.nft("add element inet ctwatch block4 { 10.0.9.9 timeout 1h }");
    let listed = lab.fine(&["blocks"]);
    assert!(listed.contains("by somebody else than ctwatch"), "{listed}");
    lab.fine(&["unblock", "--all"]);
    lab.nft("add table inet ctwatch; add set inet ctwatch block4 { type mark; }");
    let said = lab.fails(1, &["block", "2001:db8::7", "--now"]);
    assert!(said.contains("set block4") && said.contains("somebody else"), "{said}");
    assert_eq!(lab.sources(), [""; 0]);
}

#[test]
fn a_set_that_is_full_takes_nobody() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["block", ABUSER, "--now"]);
    let room = u32::try_from(ELEMENTS_MAX).unwrap() - 2;
    let address = |number| std::net::Ipv4Addr::from(0x0b00_0000 + number).to_string();
    let elements: Vec<String> = (0..room).map(address).collect();
    let script = lab.state.path().join("script");
    let elements = elements.join(", ");
    fs::write(&script, format!("add element inet ctwatch block4 {{ {elements} }}")).unwrap();
    let mut fill = Command::new("ip");
    fill.args(["netns", "exec", lab.gateway.gateway().name(), "nft", "-f"]).arg(&script);
    assert!(fill.status().unwrap().success());
    let said = lab.fails(1, &["block", "10.0.1.4", "10.0.1.5", "fd00::7", "--now"]);
    assert!(said.contains("no more room in the set block4"), "{said}");
    let sources = lab.sources();
    assert_eq!(sources.len() as u64, u64::from(room) + 1);
    assert!(!sources.contains(&"fd00::7".to_owned()));
    lab.fine(&["block", "10.0.1.4", "--now"]);
}

#[test]
fn without_nft_or_permission_it_says_what_is_missing() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["block", ABUSER, "--now"]);
    let empty = lab.state.path().join("empty");
    fs::create_dir(&empty).unwrap();
    // The places that nft may lie in, hidden in a mount namespace of its own.
    let hide = "mount --bind \"$0\" /usr/sbin && if [ -d /usr/local/sbin ]; then mount --bind \"$0\" /usr/local/sbin; fi && exec \"$@\"";
    let netns = lab.gateway.gateway().name();
    let (program, nobody) = (ctwatch(), Nobody::new());
    for command in [
        &["block", "10.0.1.1", "--now"][..],
        &["block", "10.0.1.1"],
        &["blocks"],
        &["unblock", "--all"],
    ] {
        let hidden = Command::new("unshare")
            .args(["--mount", "sh", "-c", hide])
            .arg(&empty)
            .arg(&program)
            .args(command)
            .args(["--netns", netns])
            .output()
            .unwrap();
        assert_eq!(hidden.status.code(), Some(77), "{command:?}: {}", said(&hidden));
        assert!(said(&hidden).contains("install the package nftables"), "{}", said(&hidden));

        let nobody = nobody.run(command);
        assert_eq!(nobody.status.code(), Some(77), "{command:?}: {}", said(&nobody));
        assert!(said(&nobody).contains("as root"), "{}", said(&nobody));
    }
    assert_eq!(lab.sources(), [ABUSER]);
}

/// Whenever it is killed there is the whole block or none, and the same command makes it whole.
#[test]
fn killed_at_any_moment_nothing_is_half_done() {
    let Some(lab) = Lab::new() else { return };
    let list = lab.state.path().join("list");
    let lines: String = (0..3000u32)
        .map(|number| format!("{}\n", std::net::Ipv4Addr::from(0x0b00_0000 + number)))
        .collect();
    fs::write(&list, lines).unwrap();
    let command = ["block", ABUSER, "--file", list.to_str().unwrap(), "--now"];
    let rate = NonZeroU64::new(200).unwrap();
    let flood =
        Flood::start(lab.gateway.client(), FlowPlan::udp(ip(ABUSER), 1_000_000).at_rate(rate))
            .unwrap();
    wait::until(wait::PATIENCE, "entries", || {
        Ok((counters::entries(lab.gateway.gateway())? > 10).then_some(()))
    })
    .unwrap();
    let (mut none, mut whole) = (0, 0);
    for step in 0..16u32 {
        let mut child = lab
            .command(&command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        // Later each time: it is killed while it reads, while nft runs, or while entries end.
        let after = std::time::Duration::from_millis(u64::from(step) * 12);
        let begun = std::time::Instant::now();
        wait::until(wait::PATIENCE, "the moment to kill it", || {
            Ok((begun.elapsed() >= after).then_some(()))
        })
        .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // What was started last may still be under way in the kernel.
        let sources = wait::until_quiet(
            wait::PATIENCE,
            std::time::Duration::from_millis(300),
            "the sets",
            || Ok(lab.sources().len()),
        )
        .unwrap();
        match sources {
            0 => none += 1,
            3001 => whole += 1,
            sources => panic!("{sources} are blocked of 3001"),
        }
        lab.fine(&["unblock", "--all"]);
        assert!(!lab.has_table());
    }
    println!("killed: {none} times before the block, {whole} times after");
    assert!(none > 0, "it was never killed early enough");
    lab.fine(&command);
    flood.stop().unwrap();
    assert_eq!(counters::listed(lab.gateway.gateway(), ip(ABUSER)).unwrap(), 0);
}
