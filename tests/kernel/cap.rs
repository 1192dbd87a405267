//! A capped source holds as many entries as it may and no more while it asks for many, each packet beyond that is dropped and
//! counted, and nobody else notices. Natively too.

use std::process::{Command, Output};

use ctwatch_lab::{FlowPlan, Gateway, counters, wait};
use serde_json::Value;

use crate::observed::{ctwatch, gateway, ip};

const SOURCE: &str = "10.0.1.66";
const SOURCE6: &str = "fd00:10::66";

struct Lab(Gateway);

impl Lab {
    fn new() -> Option<Self> {
        Some(Self(gateway()?))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let netns = ["--netns", self.0.gateway().name()];
        Command::new(ctwatch()).args(arguments).args(netns).output().unwrap()
    }

    /// What it printed; it ended well.
    #[track_caller]
    fn fine(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it complained of; it ended with this status.
    #[track_caller]
    fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    #[track_caller]
    fn listed(&self) -> Value {
        serde_json::from_str(&self.fine(&["blocks", "--json"])).unwrap()
    }

    #[track_caller]
    fn caps(&self) -> Vec<Value> {
        let listed = self.listed();
        assert_eq!(listed["problems"], Value::Array(Vec::new()), "{listed}");
        listed["caps"].as_array().unwrap().clone()
    }

    /// Sends the first packets of `count` flows, from the flow of this number on.
    fn send(&self, source: &str, first: u64, count: u64) {
        FlowPlan::udp(ip(source), count).starting_at(first).send(self.0.client()).unwrap();
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        wait::until(wait::PATIENCE, what, || Ok(is_so().then_some(()))).unwrap();
    }

    /// Waits until the only cap has dropped so many.
    #[track_caller]
    fn wait_for_dropped(&self, packets: u64) {
        self.wait_for(&format!("{packets} dropped packets"), || {
            self.caps()[0]["dropped_packets"] == packets
        });
    }

    #[track_caller]
    fn wait_for_held(&self, source: &str, entries: u64) {
        self.wait_for(&format!("{entries} entries of {source}"), || self.held(source) == entries);
    }

    fn held(&self, source: &str) -> u64 {
        counters::listed(self.0.gateway(), ip(source)).unwrap()
    }

    fn nft(&self, script: &str) -> Output {
        let mut command = Command::new("ip");
        let netns = self.0.gateway().name();
        command.args(["netns", "exec", netns, "nft", script]).output().unwrap()
    }

    fn table(&self) -> String {
        String::from_utf8(self.nft("list table inet ctwatch").stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn cap_leaves_a_source_as_many_entries_as_it_says_and_drops_the_rest() {
    let Some(lab) = Lab::new() else { return };
    for (source, other) in [(SOURCE, "10.0.1.2"), (SOURCE6, "fd00:10::2")] {
        lab.fine(&["cap", source, "100", "--why", "a trial"]);
        lab.send(source, 0, 1000);
        lab.send(other, 0, 300);
        lab.wait_for_dropped(900);
        lab.wait_for_held(other, 300);
        assert_eq!(lab.held(source), 100);
        // Flows that have their entry are not cut off, and are not counted again: only the other 900 are dropped.
        lab.send(source, 0, 1000);
        lab.wait_for_dropped(1800);
        assert_eq!(lab.held(source), 100);
        let caps = lab.caps();
        let [cap] = caps.as_slice() else { panic!("{caps:?}") };
        for (key, value) in [
            ("source", Value::from(source)),
            ("entries_max", 100.into()),
            ("why", "a trial".into()),
        ] {
            assert_eq!(cap[key], value, "{key} in {cap}");
        }
        // When its entries end it may make others.
        counters::flush_source(lab.0.gateway(), ip(source)).unwrap();
        lab.wait_for("room under the cap", || {
            lab.send(source, 5000, 1);
            lab.held(source) == 1
        });
        assert_eq!(lab.fine(&["unblock", source]), format!("{source} is capped no more\n"));
        assert!(!lab.table().contains("cap"), "{}", lab.table());
        lab.send(source, 6000, 500);
        lab.wait_for_held(source, 501);
    }
}

#[test]
fn cap_holds_a_network_as_a_whole() {
    let Some(lab) = Lab::new() else { return };
    for (network, sources, other) in [
        ("10.0.1.0/24", ["10.0.1.1", "10.0.1.255"], "10.0.2.0"),
        ("fd00:10:0:1::/64", ["fd00:10:0:1::1", "fd00:10:0:1:ffff::9"], "fd00:10:0:2::1"),
    ] {
        lab.fine(&["cap", network, "50"]);
        for source in sources {
            lab.send(source, 0, 40);
        }
        lab.send(other, 0, 60);
        lab.wait_for_dropped(30);
        lab.wait_for_held(other, 60);
        assert_eq!([lab.held(sources[0]), lab.held(sources[1])], [40, 10]);
        lab.fine(&["unblock", "--all"]);
        assert_eq!(lab.table(), "");
    }
}

#[test]
fn cap_ends_by_itself_and_what_is_left_of_it_is_swept_away() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["cap", SOURCE, "3", "--for", "2s"]);
    lab.send(SOURCE, 0, 10);
    lab.wait_for("the end of the cap", || lab.caps().is_empty());
    lab.send(SOURCE, 100, 50);
    lab.wait_for("its entries", || lab.held(SOURCE) >= 50);
    assert!(lab.table().contains("cap_0a000142_32"), "{}", lab.table());
    lab.fine(&["cap", "10.0.7.0/24", "3"]);
    assert!(!lab.table().contains("cap_0a000142_32"), "{}", lab.table());
    // Of the same source, in what is left.
    lab.fine(&["cap", SOURCE, "3", "--for", "1s"]);
    lab.wait_for("the end of the cap", || lab.caps().len() == 1);
    lab.fine(&["cap", SOURCE, "3"]);
    assert_eq!(lab.caps().len(), 2);
}

#[test]
fn cap_again_gives_the_time_anew_and_goes_on_counting() {
    let Some(lab) = Lab::new() else { return };
    for (source, wide) in [(SOURCE, SOURCE), ("10.0.1.64", "10.0.1.64/26")] {
        lab.fine(&["cap", wide, "20", "--for", "60s", "--why", "first"]);
        let since = lab.caps()[0]["since"].clone();
        lab.send(source, 0, 50);
        lab.wait_for_dropped(30);
        for (time, least, most) in [("2h", 7000, 7200), ("90s", 60, 90)] {
            lab.fine(&["cap", wide, "20", "--for", time]);
            let cap = &lab.caps()[0];
            assert!((least..=most).contains(&cap["left_s"].as_u64().unwrap()), "{cap}");
            assert_eq!((&cap["since"], &cap["why"]), (&since, &"first".into()), "{cap}");
        }
        // The entries that it has still count.
        lab.send(source, 50, 10);
        lab.wait_for_dropped(40);
        assert_eq!(lab.held(source), 20);
        // Another number counts anew, and with its entries ended it holds from the start.
        lab.fine(&["cap", wide, "5", "--end-entries"]);
        assert_eq!(lab.held(source), 0);
        lab.send(source, 100, 15);
        lab.wait_for_dropped(50);
        assert_eq!(lab.held(source), 5);
        lab.fine(&["unblock", "--all"]);
        counters::flush(lab.0.gateway()).unwrap();
    }
}

#[test]
fn cap_and_block_of_one_source_are_lifted_together() {
    let Some(lab) = Lab::new() else { return };
    lab.fine(&["cap", SOURCE, "20"]);
    lab.fine(&["block", SOURCE, "--now"]);
    assert_eq!(lab.listed()["blocks"][0]["source"], SOURCE);
    assert_eq!(lab.caps().len(), 1);
    lab.fine(&["unblock", SOURCE]);
    let listed = lab.listed();
    assert_eq!(
        (&listed["blocks"], &listed["caps"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
    assert!(lab.fails(1, &["unblock", SOURCE]).contains("is not blocked, nor capped"));
}

#[test]
fn cap_says_what_it_does_not_do() {
    let Some(lab) = Lab::new() else { return };
    for (arguments, status, why) in [
        (&["cap", SOURCE][..], 2, "required"),
        (&["cap", SOURCE, "0"], 2, "1..=4096"),
        (&["cap", SOURCE, "4097"], 2, "1..=4096"),
        (&["cap", "10.0.1.66/24", "5"], 2, "10.0.1.0/24"),
        (&["cap", "192.0.2.1", "5"], 1, "192.0.2.1 must not be capped"),
        (&["cap", "127.0.0.1", "5"], 1, "must not be capped"),
    ] {
        let said = lab.fails(status, arguments);
        assert!(said.contains(why), "{said}");
        assert_eq!(lab.table(), "", "{said}");
    }
}

#[test]
fn cap_that_somebody_has_changed_is_told_and_made_anew() {
    let Some(lab) = Lab::new() else { return };
    let moved = "delete chain inet ctwatch cap; \
                 add chain inet ctwatch cap { type filter hook prerouting priority 0; }";
    for change in [
        "insert rule inet ctwatch cap accept",
        "flush chain inet ctwatch cap",
        "delete chain inet ctwatch cap",
        moved,
    ] {
        lab.fine(&["cap", SOURCE, "5"]);
        assert_eq!(lab.caps().len(), 1);
        let done = lab.nft(change);
        assert!(done.status.success(), "{change}: {}", said(&done));
        let listed = lab.listed();
        assert_ne!(listed["problems"], Value::Array(Vec::new()), "{change}: {listed}");
        lab.fine(&["cap", SOURCE, "5", "--end-entries"]);
        let before = lab.caps()[0]["dropped_packets"].as_u64().unwrap();
        lab.send(SOURCE, 0, 9);
        lab.wait_for_dropped(before + 4);
        assert_eq!(lab.held(SOURCE), 5, "{change}");
        lab.fine(&["unblock", "--all"]);
        assert_eq!(lab.table(), "");
    }
}
