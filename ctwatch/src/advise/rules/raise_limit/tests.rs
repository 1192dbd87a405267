use super::*;
use crate::advise::{facts::NamespaceFacts, samples};

fn of_cause(cause: Cause) -> Finding {
    Finding { cause, explanation: String::new(), evidence: Vec::new() }
}

/// A full table; a thousand flows a second, of which half are refused, each of ten seconds.
fn full() -> Case {
    samples::case(|snapshot| {
        snapshot.table.entries = 65_536;
        snapshot.totals.new = Some(50_000);
        snapshot.totals.refused = Some(50_000);
        snapshot.totals.ended = Some(5000);
        snapshot.totals.entry_seconds = Some(655_360.0);
        snapshot.sources = samples::one_source(snapshot);
    })
}

fn advise(case: &Case, bounds: &Bounds) -> Advice {
    match judge(case, &of_cause(Cause::Growth), bounds) {
        Verdict::Advise(advice) => advice.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn to(advice: &Advice) -> u64 {
    advice.changes[0].to.parse().unwrap()
}

#[test]
fn the_limit_is_twice_what_the_traffic_wants() {
    // 10 000 flows a second, of 655 360 / 5000 = 131 seconds.
    let advice = advise(&full(), &Bounds::default());
    assert_eq!((advice.id.as_str(), advice.severity), ("raise-limit", Severity::Critical));
    // 5 % of 16 GiB is less.
    assert_eq!(to(&advice), (16_u64 << 30) / 20 / 384 / 512 * 512);
    assert_eq!(advice.expected.refused_share, Some(0.0));
    let wanted = advise(&full(), &Bounds { memory_share_max: 0.5, ..Bounds::default() });
    assert_eq!(to(&wanted), 2_621_440);
    assert!(wanted.is_unasked);
    assert_eq!(wanted.expected.memory_bytes, Some((2_621_440 - 65_536) * 384));
    assert_eq!(wanted.commands, ["sysctl -w net.netfilter.nf_conntrack_max=2621440"]);
}

#[test]
fn without_a_lifetime_the_limit_is_doubled() {
    let mut case = full();
    let mut last = (*case.last).clone();
    last.totals.ended = Some(0);
    last.sources = samples::one_source(&last);
    case.last = last.into();
    let advice = advise(&case, &Bounds::default());
    assert_eq!((to(&advice), advice.expected.refused_share), (131_072, Some(0.0)));
    assert!(advice.why.contains("another look"), "{}", advice.why);
    // 65 536 more at 10 000 a second.
    let again = advice.expected.further.iter().find(|datum| datum.name == "full_again_after_s");
    assert_eq!(again.unwrap().amount, crate::advise::advice::Amount::Real(6.5536));
}

#[test]
fn where_it_does_not_help_it_is_refused_with_the_reason() {
    for cause in [
        Cause::SingleSource,
        Cause::SpoofedFlood,
        Cause::SnatPorts,
        Cause::BucketsTooSmall,
        Cause::BucketsTooLarge,
        Cause::Expectations,
        Cause::Memory,
        Cause::ConntrackNotNeeded,
    ] {
        let verdict = judge(&full(), &of_cause(cause), &Bounds::default());
        assert!(
            matches!(&verdict, Verdict::Refuse(why) if why.len() > 40),
            "{cause:?}: {verdict:?}"
        );
    }
}

#[test]
fn with_room_enough_it_is_silent_and_without_a_limit_too() {
    let idle = samples::case(|_| {});
    assert_eq!(judge(&idle, &of_cause(Cause::None), &Bounds::default()), Verdict::Silent);
    let mut unlimited = full();
    unlimited.settings.values.insert(LIMIT.to_owned(), 0);
    assert_eq!(judge(&unlimited, &of_cause(Cause::Growth), &Bounds::default()), Verdict::Silent);
}

#[test]
fn memory_sets_the_bound_and_says_so() {
    let mut case = full();
    case.facts.memory.available_bytes = Some(1 << 20);
    let verdict = judge(&case, &of_cause(Cause::Growth), &Bounds::default());
    assert!(matches!(&verdict, Verdict::Advise(_)), "{verdict:?}");
    case.facts.memory.total_bytes = Some(256 << 20);
    let verdict = judge(&case, &of_cause(Cause::Growth), &Bounds::default());
    assert!(matches!(&verdict, Verdict::Refuse(why) if why.contains("268 MB")), "{verdict:?}");
    // Two busy namespaces share what there is.
    let mut case = full();
    let alone = to(&advise(&case, &Bounds::default()));
    case.facts.namespaces = vec![
        NamespaceFacts { netns: 99, name: "other".to_owned(), entries: 40_000 },
        NamespaceFacts { netns: 98, name: "idle".to_owned(), entries: 10 },
    ];
    let shared = to(&advise(&case, &Bounds::default()));
    assert!(shared <= alone / 2 && shared > alone / 2 - 1024, "{shared} of {alone}");
}
