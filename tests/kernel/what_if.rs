//! What would end under another timeout, and what really ends: for each timeout that traffic can make, entries that were
//! used at different times, the number that ctwatch foretells, and the number that is gone when the new value is set and
//! the idle ones are ended.

use std::collections::BTreeMap;

use ctwatch::advise::timeouts::{TIMEOUTS, by_name};
use ctwatch::change::purge::{IdleEntries, PurgeError, PurgePlan, PurgeReport};
use ctwatch::host::settings;
use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{FlowPlan, Gateway, counters, table, wait};
use serde_json::{Value, json};

use crate::changed::{Scene, said};
use crate::idle_entries::{NEW_S, OLD_S, World, conntrack, namespace};
use crate::observed::{ctwatch, gateway, ip};
use crate::without_ctnetlink::Unloaded;

/// What is expected of a timeout: its name, what it is and would be, how many entries it governs, and how many of those end
/// and are undecided.
struct Case {
    timeout: &'static str,
    from_s: u32,
    to_s: u32,
    entries: u64,
    ends: u64,
    undecided: u64,
}

/// Of a timeout of which what is left says all.
fn decided(timeout: &'static str) -> Case {
    Case { timeout, from_s: OLD_S, to_s: NEW_S, entries: 15, ends: 10, undecided: 0 }
}

/// Of a state of TCP that may have been given the five minutes of what is unacknowledged.
fn of_tcp(timeout: &'static str) -> Case {
    Case { ends: 7, undecided: 3, ..decided(timeout) }
}

#[test]
fn what_if_is_what_ends_for_every_timeout() {
    let Some(gateway) = gateway() else { return };
    let world = World::new(&gateway);
    world.fill();
    let cases = [
        of_tcp("tcp_timeout_syn_sent"),
        of_tcp("tcp_timeout_syn_recv"),
        of_tcp("tcp_timeout_fin_wait"),
        of_tcp("tcp_timeout_close_wait"),
        of_tcp("tcp_timeout_last_ack"),
        of_tcp("tcp_timeout_time_wait"),
        // 15 established ones may have been given it too, by a reset that does not fit, of which 3 have little left.
        Case { entries: 30, undecided: 6, ..of_tcp("tcp_timeout_close") },
        // Unanswered ones that were picked up, and again the established ones.
        Case { entries: 30, undecided: 6, ..of_tcp("tcp_timeout_unacknowledged") },
        // No listing shows who was given this one. Five of those that were picked up have more left than anything gives.
        Case {
            timeout: "tcp_timeout_max_retrans",
            from_s: 300,
            to_s: 290,
            entries: 23,
            ends: 0,
            undecided: 5,
        },
        Case {
            timeout: "tcp_timeout_established",
            from_s: 432_000,
            to_s: 86_400,
            entries: 15,
            ends: 7,
            undecided: 3,
        },
        decided("udp_timeout_stream"),
        // The five streams that are left may have been given it, in their first two seconds.
        Case { entries: 20, ..decided("udp_timeout") },
        decided("icmp_timeout"),
        decided("icmpv6_timeout"),
        decided("gre_timeout"),
        decided("gre_timeout_stream"),
        decided("generic_timeout"),
    ];
    let asked: Vec<&str> = cases.iter().map(|case| case.timeout).collect();
    let all: Vec<&str> = TIMEOUTS.iter().map(|timeout| timeout.name).collect();
    assert_eq!(sorted(asked), sorted(all));
    let mut report = Vec::new();
    for case in &cases {
        report.push(world.check(case));
    }
    println!("{}", report.join("\n"));
}

impl World<'_> {
    /// What is foretold, and what ends.
    fn check(&self, case: &Case) -> String {
        let Case { timeout, from_s, to_s, entries, ends, undecided } = *case;
        self.set(timeout, from_s);
        let foretold = self.foretold(timeout, to_s);
        let number = |key: &str| foretold[key].as_u64().unwrap();
        let sources = foretold["sources"].as_array().unwrap();
        let lost: u64 = sources.iter().map(|source| source["ends"].as_u64().unwrap()).sum();
        let found =
            [number("entries"), number("ends"), lost, number("undecided"), number("from_s")];
        assert_eq!(found, [entries, ends, ends, undecided, from_s.into()], "{foretold}");

        let before = counters::entries(self.gateway.gateway()).unwrap();
        let listed_before = by_kind(self.gateway);
        let plan = PurgePlan::new(
            &settings::read_in(&self.namespace).unwrap(),
            [(by_name(timeout).unwrap(), to_s)],
        );
        let idle = IdleEntries::list(&self.namespace, &plan, usize::MAX).unwrap();
        // As it is done: the new value is in force when they are ended.
        self.set(timeout, to_s);
        let report = idle.end(&self.namespace).unwrap();
        let expected = PurgeReport { idle: ends, ended: ends, undecided, ..PurgeReport::default() };
        assert_eq!(report, expected, "{timeout}");
        let after = counters::entries(self.gateway.gateway()).unwrap();
        assert_eq!(before - after, ends, "{timeout}");
        // Of one kind only, and nothing besides.
        let listed_after = by_kind(self.gateway);
        let changed: Vec<_> = listed_before
            .iter()
            .filter(|(kind, entries)| listed_after.get(*kind).copied().unwrap_or(0) != **entries)
            .collect();
        assert_eq!(changed.len(), usize::from(ends > 0), "{timeout}: {changed:?}");
        self.unset(timeout);
        format!(
            "{timeout}: {from_s} -> {to_s} s: {entries} entries, foretold {ends}, ended {}, undecided {undecided}",
            before - after
        )
    }

    fn foretold(&self, timeout: &str, seconds: u32) -> Value {
        let question = format!("{timeout}={seconds}");
        let name = self.gateway.gateway().name();
        let arguments =
            ["advise", "--json", "--netns", name, "--allow-below-rfc", "--what-if", &question];
        let ended = ctwatch_lab::Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        ended.lines[0].json["what_if"][0].clone()
    }
}

fn by_kind(gateway: &Gateway) -> BTreeMap<(String, String, bool, bool), u64> {
    let mut kinds = BTreeMap::new();
    for entry in table::entries(gateway.gateway()).unwrap() {
        let kind = (entry.protocol, entry.state, entry.assured, entry.unreplied);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// As an operator does it: advice, a plan, and the plan carried out.
#[test]
fn what_if_advise_foretells_what_apply_purge_ends() {
    let Some(scene) = Scene::set() else { return };
    let world = World::new(&scene.gateway);
    world.fill_established();
    let entries = || counters::entries(scene.gateway.gateway()).unwrap();
    assert_eq!(entries(), 15);
    let _limit = GlobalSetting::limit(20).unwrap();
    let id = "shorten-tcp-timeout-established";
    let look = ["--for", "2s", "--netns", scene.name()];
    let advised = scene.run(&[&["advise", "--json"], look.as_slice()].concat()).fine();
    let json: Value = serde_json::from_str(&advised.stdout).unwrap();
    let advice = json["advice"].as_array().unwrap();
    let advice = advice.iter().find(|advice| advice["id"] == id);
    let advice = advice.unwrap_or_else(|| panic!("no {id} in {json}"));
    assert_eq!(
        (&advice["expected"]["entries_freed"], &advice["changes"][0]["to"], &advice["unasked"]),
        (&json!(7), &json!("86400"), &json!(false)),
        "{advice}"
    );

    let established = || {
        let settings = settings::read_in(&world.namespace).unwrap();
        settings.timeout_s("tcp_timeout_established")
    };
    let plan = [&["apply"], look.as_slice()].concat();
    let carry_out = ["apply", id, "--yes", "--no-look-after", "--netns", scene.name()];
    let purge = [carry_out.as_slice(), &["--purge"]].concat();
    // A timeout alone ends nothing. Taken back, it was lower until lately, and who has little left may have got it then.
    let planned = scene.run(&plan).fine();
    assert!(planned.stdout.contains(id), "{planned:?}");
    scene.run(&carry_out).fine();
    assert_eq!((established(), entries()), (Some(86_400), 15));
    scene.run(&["rollback"]).fine();
    scene.run(&plan).fine();
    scene.run(&purge).refused(1, "was lower than the 432000 s that it is");
    assert_eq!((established(), entries()), (Some(432_000), 15));

    // For somebody who has changed nothing before, as it is done once.
    let elsewhere = scene.state.with_file_name("other");
    let run = |arguments: &[&str]| {
        said(scene.command(arguments).env("CTWATCH_STATE_DIR", &elsewhere).output().unwrap())
    };
    run(&plan).fine();
    let done = run(&purge).fine();
    assert!(done.stdout.contains("7 of 7 idle entries ended"), "{done:?}");
    assert_eq!((established(), entries()), (Some(86_400), 8));
}

#[test]
fn what_if_an_entry_is_used_or_gone_before_its_end_it_is_left_alone() {
    let Some(gateway) = gateway() else { return };
    let namespace = namespace(&gateway);
    let client = gateway.client();
    let plan = |count| FlowPlan::udp(ip("10.0.1.2"), count);
    gateway.set_timeout("udp_timeout", 300).unwrap();
    plan(20).send(client).unwrap();
    wait_for_entries(&gateway, 20);
    gateway.set_timeout("udp_timeout", OLD_S).unwrap();
    let before = settings::read_in(&namespace).unwrap();
    let purge = PurgePlan::new(&before, [(by_name("udp_timeout").unwrap(), NEW_S)]);
    let list = |cap| IdleEntries::list(&namespace, &purge, cap).unwrap();

    // Under the old timeout, then under the new one: five are used, three are gone.
    let capped = list(11);
    assert_eq!((capped.len(), capped.beyond_cap()), (11, 9));
    assert_eq!(capped.by_source(), [(ip("10.0.1.2"), 11)]);
    let idle = list(usize::MAX);
    plan(5).send(client).unwrap();
    wait_for_left(&gateway, OLD_S, 5);
    for port in 1029..1032_u16 {
        conntrack(&gateway, &["-D", "-p", "udp", "--sport", &port.to_string()]);
    }
    gateway.set_timeout("udp_timeout", NEW_S).unwrap();
    plan(2).starting_at(8).send(client).unwrap();
    wait_for_left(&gateway, NEW_S, 2);
    let report = idle.end(&namespace).unwrap();
    let expected =
        PurgeReport { idle: 20, ended: 10, refreshed: 7, gone: 3, ..PurgeReport::default() };
    assert_eq!(report, expected);
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 7);
    let report = capped.end(&namespace).unwrap();
    assert_eq!((report.ended, report.failed, report.beyond_cap), (0, 0, 9));
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 7);
}

#[test]
fn what_if_ctnetlink_is_not_loaded_nothing_ends_and_no_module_is_loaded() {
    let Some(gateway) = gateway() else { return };
    let namespace = namespace(&gateway);
    FlowPlan::udp(ip("10.0.1.2"), 10).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 10);
    let before = settings::read_in(&namespace).unwrap();
    let plan = PurgePlan::new(&before, [(by_name("udp_timeout").unwrap(), NEW_S)]);
    let _unloaded = Unloaded::now();
    let error = ctwatch::change::purge::purge(&namespace, &plan, 100).unwrap_err();
    let PurgeError::List(source) = &error else { panic!("{error}") };
    assert!(source.to_string().contains("modprobe nf_conntrack_netlink"), "{source}");
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 10);
}

#[test]
fn what_if_a_rule_has_a_timeout_of_its_own_or_an_rfc_forbids_it_nothing_ends() {
    let Some(gateway) = gateway() else { return };
    let namespace = namespace(&gateway);
    FlowPlan::udp(ip("10.0.1.2"), 10).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 10);
    let before = settings::read_in(&namespace).unwrap();
    let plan = PurgePlan::new(&before, [(by_name("udp_timeout").unwrap(), 1)]);
    // Other objects than timeouts do no harm.
    gateway.add_rules("table inet other {\n counter seen { }\n}\n").unwrap();
    assert!(IdleEntries::list(&namespace, &plan, 100).is_ok());
    gateway
        .add_rules(
            "table inet short {\n ct timeout short {\n protocol udp;\n policy = { unreplied : 5, replied : 5 }\n }\n}\n",
        )
        .unwrap();
    let error = IdleEntries::list(&namespace, &plan, 100).unwrap_err();
    assert!(matches!(error, PurgeError::OtherTimeouts(1)), "{error}");
    let name = gateway.gateway().name();
    let run = |question: &str| {
        let arguments = ["advise", "--json", "--netns", name, "--what-if", question];
        ctwatch_lab::Ctwatch::run(&ctwatch(), &arguments, wait::PATIENCE).unwrap()
    };
    let told = run("udp_timeout=1");
    assert_eq!(told.status.code(), Some(0), "{}", told.stderr);
    assert!(told.stderr.contains("rules have 1 timeouts of their own"), "{}", told.stderr);
    let refused = run("tcp_timeout_established=7439");
    assert_eq!((refused.status.code(), refused.lines.len()), (Some(2), 0), "{}", refused.stderr);
    assert!(refused.stderr.contains("RFC 5382 REQ-5"), "{}", refused.stderr);
    assert_eq!(counters::entries(gateway.gateway()).unwrap(), 10);
}

fn wait_for_entries(gateway: &Gateway, count: u64) {
    wait::until(wait::PATIENCE, &format!("{count} entries"), || {
        Ok((counters::entries(gateway.gateway())? == count).then_some(()))
    })
    .unwrap();
}

/// Until so many entries have about so many seconds left.
fn wait_for_left(gateway: &Gateway, seconds: u32, count: usize) {
    wait::until(wait::PATIENCE, &format!("{count} entries with {seconds} s left"), || {
        let listed = conntrack(gateway, &["-L"]);
        let left = listed.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok());
        let found = left.filter(|left: &u32| (seconds - 100..=seconds).contains(left)).count();
        Ok((found == count).then_some(()))
    })
    .unwrap();
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}
