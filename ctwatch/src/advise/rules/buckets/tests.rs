use super::*;
use crate::advise::{samples, settings::LIMIT};

fn finding(cause: Cause) -> Finding {
    Finding { cause, explanation: String::new(), evidence: Vec::new() }
}

fn case(buckets: i64, entries: u64, too_long: u64) -> Case {
    let mut case = samples::case(|snapshot| {
        snapshot.table.entries = entries;
        snapshot.kernel.chaintoolong = Some(too_long);
        snapshot.kernel.insert_failed = Some(too_long);
        snapshot.totals.new = Some(10_000);
    });
    // It does not grow.
    case.first = std::sync::Arc::clone(&case.last);
    case.settings.values.insert(BUCKETS.to_owned(), buckets);
    case
}

fn advise(case: &Case, cause: Cause) -> Advice {
    match judge(case, &finding(cause), &Bounds::default()) {
        Verdict::Advise(advice) => advice.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn datum(data: &[Datum], name: &str) -> f64 {
    match data.iter().find(|datum| datum.name == name).unwrap().amount {
        crate::advise::advice::Amount::Real(real) => real,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn too_few_buckets_become_as_many_as_entries_fit() {
    let advice = advise(&case(1024, 30_000, 4000), Cause::BucketsTooSmall);
    assert_eq!((advice.id.as_str(), advice.severity), ("set-buckets", Severity::Critical));
    let change = &advice.changes[0];
    assert_eq!(
        (change.key.as_str(), change.from.as_str(), change.to.as_str()),
        ("nf_conntrack.hashsize", "1024", "65536")
    );
    assert!(advice.is_unasked);
    assert_eq!(advice.expected.memory_bytes, Some((65_536 - 1024) * 8));
    assert_eq!(advice.commands, ["echo 65536 > /sys/module/nf_conntrack/parameters/hashsize"]);
    // 58.6 links to a bucket.
    assert!(datum(&advice.evidence, "insert_loss_long_limit") > 0.3, "{advice:?}");
    assert!(datum(&advice.expected.further, "insert_loss") < 1e-3);
    assert!(advice.why.contains("50 to 79"), "{}", advice.why);
}

#[test]
fn the_old_limit_is_supposed_only_where_nothing_tells() {
    // 7.8 links: of ten thousand insertions the old limit would have failed five hundred.
    let long = advise(&case(16_384, 32_000, 0), Cause::None);
    assert!(long.why.contains("50 to 79"), "{}", long.why);
    assert_eq!(long.severity, Severity::Info);
    let unknown = advise(&case(16_384, 1000, 0), Cause::None);
    assert!(unknown.why.contains("if this kernel has the old limit"), "{}", unknown.why);
    assert_eq!(unknown.severity, Severity::Warning);
}

#[test]
fn within_the_window_it_is_silent() {
    for buckets in [32_768, 65_536, 524_288] {
        let verdict = judge(&case(buckets, 1000, 0), &finding(Cause::None), &Bounds::default());
        assert_eq!(verdict, Verdict::Silent, "{buckets}");
    }
    let lowering = Bounds { allow_lowering: true, ..Bounds::default() };
    let verdict = judge(&case(524_288, 1000, 0), &finding(Cause::None), &lowering);
    assert!(matches!(verdict, Verdict::Advise(_)), "{verdict:?}");
}

#[test]
fn a_long_stall_is_refused_and_says_when_it_would_do() {
    let mut case = case(16_384, 200_000, 0);
    case.settings.values.insert(LIMIT.to_owned(), 262_144);
    let verdict = judge(&case, &finding(Cause::None), &Bounds::default());
    assert!(
        matches!(&verdict, Verdict::Refuse(why) if why.contains("100 ms") && why.contains("100000 entries")),
        "{verdict:?}"
    );
}

#[test]
fn too_many_buckets_become_fewer_only_on_demand_and_the_effect_is_foretold() {
    let census = |evictable| samples::census(65_536, evictable);
    let mut case = case(524_288, 65_536, 0);
    std::sync::Arc::make_mut(&mut case.last).census = Some(census(13_107));
    let advice = advise(&case, Cause::BucketsTooLarge);
    assert_eq!(advice.changes[0].to, "65536");
    assert!(!advice.is_unasked);
    assert!((advice.expected.refused_share.unwrap() - 0.034).abs() < 0.002, "{advice:?}");
    assert!((datum(&advice.evidence, "refused_share_when_full") - 0.66).abs() < 0.01);
}

#[test]
fn a_full_table_that_would_refuse_more_keeps_its_long_chains() {
    let mut case = case(16_384, 65_536, 0);
    std::sync::Arc::make_mut(&mut case.last).census = Some(samples::census(65_536, 3300));
    // The limit cannot be raised against this cause.
    let verdict = judge(&case, &finding(Cause::SingleSource), &Bounds::default());
    assert!(matches!(&verdict, Verdict::Refuse(why) if why.contains("make room")), "{verdict:?}");
}

#[test]
fn buckets_follow_the_limit_that_is_advised_and_never_exceed_it() {
    let mut case = case(512, 1000, 0);
    case.settings.values.insert(LIMIT.to_owned(), 1000);
    let advice = advise(&case, Cause::Growth);
    // The limit becomes 2048.
    assert_eq!(advice.changes[0].to, "2048");
    let advice = advise(
        &{
            let mut case = case;
            case.facts.memory.total_bytes = Some(10 << 20);
            case.settings.values.insert(BUCKETS.to_owned(), 128);
            case
        },
        Cause::Growth,
    );
    assert_eq!(advice.changes[0].to, "1024");
}
