//! Which entries would have ended, kind by kind, and what holds of any table and any change.

use proptest::prelude::*;

use super::*;
use crate::advise::timeouts::TIMEOUTS;
use crate::model::census::remaining::RemainingTimes;

/// The kernel's own, but for what is said.
fn settings(set: &[(&str, u32)]) -> Settings {
    let mut settings = Settings::default();
    for timeout in TIMEOUTS {
        settings = with_timeout(&settings, timeout, timeout.default_s);
    }
    for (name, seconds) in set {
        settings = with_timeout(&settings, by_name(name).unwrap(), *seconds);
    }
    settings
}

const fn tcp(state: u8) -> Kind {
    Kind::Tcp { state, is_unreplied: false }
}

/// The seconds left from which on the fate is another one, each with that fate, up to `last`.
fn fates(kind: Kind, before: &Settings, after: &Settings, last: u32) -> Vec<(u32, Fate)> {
    let outlook = Outlook::of(kind, before, after).unwrap();
    let mut fates: Vec<(u32, Fate)> = Vec::new();
    for remaining_s in 0..=last {
        let fate = outlook.fate(remaining_s);
        if fates.last().is_none_or(|(_, last)| *last != fate) {
            fates.push((remaining_s, fate));
        }
    }
    fates
}

#[test]
fn idle_is_the_timeout_less_what_is_left() {
    let before = settings(&[]);
    let after = settings(&[("icmp_timeout", 10)]);
    // 19 left means less than 20: idle for more than 10 s. 20 left may mean exactly 10 s, or less.
    assert_eq!(
        fates(Kind::Icmp, &before, &after, 40),
        [(0, Fate::Ends), (20, Fate::Stays), (31, Fate::Undecided)]
    );
    let raised = settings(&[("icmp_timeout", 60)]);
    assert_eq!(fates(Kind::Icmp, &before, &raised, 30), [(0, Fate::Stays)]);
}

#[test]
fn established_with_little_left_may_be_live_and_unacknowledged() {
    let before = settings(&[]);
    let after = settings(&[("tcp_timeout_established", 7440)]);
    let found = fates(tcp(3), &before, &after, 432_010);
    let expected = [
        (0, Fate::Undecided),
        (301, Fate::Ends),
        (424_560, Fate::Stays),
        // It was given an earlier, longer value.
        (432_001, Fate::Undecided),
    ];
    assert_eq!(found, expected);
    // Lowered lately, so that five minutes may still have been given; raised: as it is now.
    for (set, live_up_to) in [(60, 300), (900, 900)] {
        let before = settings(&[("tcp_timeout_unacknowledged", set)]);
        let after = with_timeout(&before, by_name(ESTABLISHED).unwrap(), 7440);
        let found = fates(tcp(3), &before, &after, 1000);
        assert_eq!(found, [(0, Fate::Undecided), (live_up_to + 1, Fate::Ends)]);
    }
}

/// With 240 to 300 left it was refreshed less than a minute ago, or has been idle for nearly an hour. With less it is over
/// either way: were CLOSE_WAIT a minute, the five minutes of what is unacknowledged would not be given.
#[test]
fn a_close_wait_of_an_hour_is_undecided_within_a_minute_of_five() {
    let before = settings(&[("tcp_timeout_close_wait", 3600)]);
    let after = settings(&[]);
    let expected = [
        (0, Fate::Ends),
        (240, Fate::Undecided),
        (301, Fate::Ends),
        (3540, Fate::Stays),
        (3601, Fate::Undecided),
    ];
    assert_eq!(fates(tcp(5), &before, &after, 3700), expected);
}

#[test]
fn states_below_five_minutes_are_decided() {
    for (state, name) in [
        (1, "tcp_timeout_syn_sent"),
        (2, "tcp_timeout_syn_recv"),
        (4, "tcp_timeout_fin_wait"),
        (5, "tcp_timeout_close_wait"),
        (6, "tcp_timeout_last_ack"),
        (7, "tcp_timeout_time_wait"),
        (8, "tcp_timeout_close"),
    ] {
        let timeout = by_name(name).unwrap();
        let before = settings(&[]);
        let after = with_timeout(&before, timeout, 3);
        let expected = [(0, Fate::Ends), (timeout.default_s - 3, Fate::Stays)];
        assert_eq!(fates(tcp(state), &before, &after, timeout.default_s), expected, "{name}");
    }
    // SYN_SENT2 has a timeout that nobody can set.
    assert_eq!(Outlook::of(tcp(9), &settings(&[]), &settings(&[])), None);
}

#[test]
fn unanswered_established_is_governed_by_what_is_unacknowledged() {
    let kind = Kind::Tcp { state: 3, is_unreplied: true };
    let before = settings(&[]);
    let after = settings(&[("tcp_timeout_unacknowledged", 150)]);
    let found = fates(kind, &before, &after, 301);
    let expected =
        [(0, Fate::Undecided), (121, Fate::Ends), (150, Fate::Stays), (301, Fate::Undecided)];
    assert_eq!(found, expected);
    let established = settings(&[("tcp_timeout_established", 7440)]);
    assert!(!Outlook::of(kind, &before, &established).unwrap().differs());
}

#[test]
fn retransmission_is_never_seen_for_sure() {
    let before = settings(&[]);
    let after = settings(&[("tcp_timeout_max_retrans", 150)]);
    let found = fates(tcp(3), &before, &after, 1000);
    assert!(found.iter().all(|(_, fate)| *fate != Fate::Ends), "{found:?}");
}

#[test]
fn assured_udp_with_little_left_may_be_in_its_first_seconds() {
    let before = settings(&[("udp_timeout_stream", 600)]);
    let after = settings(&[("udp_timeout_stream", 120)]);
    assert_eq!(
        fates(Kind::Udp { is_assured: true }, &before, &after, 600),
        [(0, Fate::Undecided), (31, Fate::Ends), (480, Fate::Stays)]
    );
    let after = settings(&[("udp_timeout_stream", 600), ("udp_timeout", 10)]);
    assert_eq!(
        fates(Kind::Udp { is_assured: false }, &before, &after, 30),
        [(0, Fate::Ends), (20, Fate::Stays)]
    );
}

/// A table of one entry for each second that a kind can have left, some twice.
fn census(kinds: &[Kind]) -> Census {
    let of_kind = |kind: &Kind| RemainingOfKind {
        kind: *kind,
        entries_by_second: (0..700).map(|second| (second, 1 + second % 2)).collect(),
        not_told: 3,
        not_counted: 2,
    };
    let kinds = kinds.iter().map(of_kind).collect();
    Census { remaining: RemainingTimes { kinds, without_kind: 1 }, ..Census::default() }
}

#[test]
fn what_ends_is_counted_and_what_is_not_told_is_undecided() {
    let census = census(&[Kind::Icmp, Kind::Generic]);
    let generic = by_name("generic_timeout").unwrap();
    let found = WhatIf::of_timeout(&census, &settings(&[]), generic, 60).unwrap();
    // 0 to 539 end; 601 to 699 have more than the timeout, and five are not told.
    assert_eq!(found, WhatIf { entries: 1055, ends: 810, undecided: 149 + 5 });
    assert_eq!(found.entry_seconds_per_day(), 810 * 86_400);
    let unknown = WhatIf::of_timeout(&census, &Settings::default(), generic, 60);
    assert_eq!(unknown, None);
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (0_u8..11, any::<bool>())
            .prop_map(|(state, is_unreplied)| Kind::Tcp { state, is_unreplied }),
        any::<bool>().prop_map(|is_assured| Kind::Udp { is_assured }),
        any::<bool>().prop_map(|is_assured| Kind::Gre { is_assured }),
        Just(Kind::Icmp),
        Just(Kind::Icmpv6),
        Just(Kind::Generic),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    prop::collection::vec(1_u32..700, TIMEOUTS.len()).prop_map(|values| {
        let set: Vec<(&str, u32)> =
            TIMEOUTS.iter().map(|timeout| timeout.name).zip(values).collect();
        settings(&set)
    })
}

proptest! {
    #[test]
    fn the_shorter_the_more_end_and_none_without_a_change(
        kinds in prop::collection::hash_set(any_kind(), 0..6),
        before in any_settings(),
        which in 0..TIMEOUTS.len(),
        seconds in 0_u32..700,
    ) {
        let census = census(&kinds.into_iter().collect::<Vec<_>>());
        let timeout = &TIMEOUTS[which];
        let now = before.timeout_s(timeout.name).unwrap();
        let what_if = |seconds| WhatIf::of_timeout(&census, &before, timeout, seconds).unwrap();
        prop_assert_eq!(what_if(now), WhatIf::default());
        let (one, shorter) = (what_if(seconds), what_if(seconds / 2));
        if seconds <= now {
            prop_assert!(shorter.ends >= one.ends, "{one:?} {shorter:?}");
        } else {
            prop_assert_eq!(one.ends, 0);
        }
        prop_assert!(one.ends + one.undecided <= one.entries);
    }

    /// Whatever the kernel did, an entry that ends has been idle for longer than what it would have been given.
    #[test]
    fn none_ends_that_would_still_be_there(
        kind in any_kind(),
        before in any_settings(),
        after in any_settings(),
        way in 0_usize..8,
        idle_s in 0_u32..800,
    ) {
        let Some(outlook) = Outlook::of(kind, &before, &after) else { return Ok(()) };
        let (given_s, would_be_given_s) = outlook.given[way % outlook.given.len()];
        prop_assume!(idle_s <= given_s);
        // As the kernel tells it, and up to a second more.
        let fate = outlook.fate(given_s - idle_s);
        prop_assert!(fate != Fate::Ends || idle_s > would_be_given_s, "{outlook:?}");
        prop_assert!(fate != Fate::Stays || idle_s <= would_be_given_s, "{outlook:?}");
    }
}
