//! Which entries are taken for idle, and when one is left alone at the last moment.

use std::net::IpAddr;

use super::*;
use crate::conntrack::entry::{Status, Tuple};

fn settings() -> Settings {
    let set = |settings, timeout: &Timeout| with_timeout(&settings, timeout, timeout.default_s);
    TIMEOUTS.iter().fold(Settings::default(), set)
}

fn entry(remaining_s: u32) -> Entry {
    let tuple = |source: [u8; 4], destination: [u8; 4]| Tuple {
        source: IpAddr::from(source),
        destination: IpAddr::from(destination),
        protocol: 6,
        source_port: 1024,
        destination_port: 80,
    };
    Entry {
        original: tuple([10, 0, 1, 2], [192, 0, 2, 1]),
        reply: Some(tuple([192, 0, 2, 1], [192, 0, 2, 2])),
        status: Status::CONFIRMED.with(Status::SEEN_REPLY).with(Status::ASSURED),
        timeout_s: Some(remaining_s),
        id: 7,
        tcp_state: Some(3),
        zone: 0,
        has_helper: false,
    }
}

fn plan() -> PurgePlan {
    let established = by_name("tcp_timeout_established").unwrap();
    PurgePlan::new(&settings(), [(established, 86_400)])
}

fn listed(entries: &[Entry], cap: usize) -> IdleEntries {
    let plan = plan();
    let outlooks = Outlooks::new(&plan.before, &plan.after);
    let mut listed = IdleEntries {
        entries: Vec::new(),
        before: plan.before,
        outlooks,
        beyond_cap: 0,
        undecided: 0,
    };
    entries.iter().for_each(|entry| listed.add(entry, cap, Instant::now()));
    listed
}

#[test]
fn idle_undecided_and_what_is_beyond_the_cap_are_told_apart() {
    let udp = Entry {
        tcp_state: None,
        original: Tuple { protocol: 17, ..entry(1).original },
        ..entry(1)
    };
    let helped = Entry { has_helper: true, ..entry(1000) };
    let listed = listed(
        &[entry(100_000), entry(345_599), entry(301), entry(345_600), entry(300), udp, helped],
        2,
    );
    assert_eq!((listed.len(), listed.beyond_cap, listed.undecided), (2, 1, 2));
    assert_eq!(listed.by_source(), [("10.0.1.2".parse().unwrap(), 2)]);
}

#[test]
fn changes_that_are_no_timeouts_are_no_purge() {
    let change = |key: &str, to: &str| Change {
        key: key.to_owned(),
        from: String::new(),
        to: to.to_owned(),
    };
    let limit = change("net.netfilter.nf_conntrack_max", "10");
    let timeout = change("net.netfilter.nf_conntrack_tcp_timeout_established", "86400");
    assert_eq!(PurgePlan::of_changes(&settings(), std::slice::from_ref(&limit)), None);
    assert_eq!(PurgePlan::of_changes(&settings(), &[limit, timeout]), Some(plan()));
    let same = change("net.netfilter.nf_conntrack_udp_timeout", "30");
    assert_eq!(PurgePlan::of_changes(&settings(), &[same]), None);
}

#[test]
fn what_has_been_used_since_is_left_alone() {
    let listed = listed(&[entry(1000)], 1);
    let is_still_idle = |now: Entry, since_s| is_still_idle(&listed.entries[0], &now, since_s);
    for (now, since_s) in [(1000, 0), (1000, 1), (999, 0), (990, 10), (989, 10), (991, 10)] {
        assert!(is_still_idle(entry(now), since_s), "{now} after {since_s} s");
    }
    // Just as much as then, the whole timeout again, or less than there can be.
    for (now, since_s) in [(1000, 10), (431_999, 0), (431_999, 10), (300, 1), (980, 10)] {
        assert!(!is_still_idle(entry(now), since_s), "{now} after {since_s} s");
    }
    for other in [
        Entry { id: 8, ..entry(1000) },
        Entry { tcp_state: Some(4), ..entry(1000) },
        Entry { timeout_s: None, ..entry(1000) },
        Entry {
            status: Status::CONFIRMED.with(Status::SEEN_REPLY).with(Status::OFFLOAD),
            ..entry(1000)
        },
    ] {
        assert!(!is_still_idle(other, 0), "{other:?}");
    }
}

#[test]
fn under_the_new_timeout_what_may_have_just_got_it_is_left_alone() {
    let mut outlooks = listed(&[], 0).outlooks;
    let kind = Kind::Tcp { state: 3, is_unreplied: false };
    let outlook = outlooks.of(kind).unwrap();
    for (remaining_s, may_be) in
        [(86_401, false), (86_400, true), (86_389, true), (86_388, false), (1000, false)]
    {
        assert_eq!(outlook.may_be_refreshed(remaining_s, 10), may_be, "{remaining_s}");
    }
}
