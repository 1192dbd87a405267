//! More sources than anybody could list, each with one entry: the totals are exact, the memory is bounded, and whoever
//! really holds most is still first.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use ctwatch_lab::address::{self, SWALLOWED_V4};
use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::{Ctwatch, FlowPlan, counters, wait};
use serde_json::Value;

use crate::observed::{
    assert_consistent, gateway, ip, is_long, number, of_source, resident_kb, rows, rung,
    start_attached, stop,
};

/// How many sources there are where there is time: many times as many as rows.
const SOURCES_LONG: u64 = 1_000_000;
/// How many otherwise.
const SOURCES: u64 = 100_000;
/// Who holds more than anybody else, and how much it opens before the others come, and after.
const HEAVY: &str = "10.1.2.3";
const HEAVY_FLOWS: u64 = 1_000;
/// What ctwatch may take, however many sources there are: a row of each source that has one, four times, and what it takes
/// anyway.
const RESIDENT_KB_MAX: u64 = 262_144;
/// An interval in which an emulated machine can read all rows.
const INTERVAL: &str = "1s";
/// A line comes late where everything is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn many_sources_are_counted_and_the_heaviest_is_first() {
    let sources = if is_long() { SOURCES_LONG } else { SOURCES };
    let Some(gateway) = gateway() else { return };
    let _room = [
        GlobalSetting::buckets(sources.next_power_of_two()).unwrap(),
        GlobalSetting::limit(2 * sources).unwrap(),
    ];
    let command = ["watch", "--json", "--interval", INTERVAL, "--top", "5"];
    let mut watch = start_attached(&gateway, &rung(), &command, &[]);
    watch.next(wait::PATIENCE).unwrap();
    let began = Instant::now();
    // To a destination of its own: masquerading has ports enough for everybody.
    let elsewhere = address::after(SWALLOWED_V4.0.into(), 200);
    let heavy = FlowPlan::udp(ip(HEAVY), HEAVY_FLOWS).to(elsewhere, 8080);
    let crowd =
        FlowPlan::udp(ip("10.16.0.0"), sources).from_sources(NonZeroU64::new(sources).unwrap());
    heavy.send(gateway.client()).unwrap();
    crowd.send(gateway.client()).unwrap();
    heavy.clone().starting_at(HEAVY_FLOWS).send(gateway.client()).unwrap();

    let all = sources + 2 * HEAVY_FLOWS;
    let line = line_at_rest(&mut watch, "totals.new", all);
    println!(
        "{sources} sources after {} s: {} kB resident, {} attempts counted on prefixes",
        began.elapsed().as_secs(),
        resident_kb(&watch),
        number(&line, "loss.map_full")
    );
    assert_eq!(number(&line, "totals.entries"), i64::try_from(all).unwrap(), "{line}");
    let first = rows(&line).next().unwrap();
    assert_eq!(first["source"], HEAVY, "{line}");
    let held = i64::try_from(2 * HEAVY_FLOWS).unwrap();
    assert_eq!(of_source(&line, HEAVY, None, "entries"), held, "{line}");
    assert_eq!(number(&line, "witness.difference"), 0, "{line}");
    assert_consistent(&gateway, &line);

    counters::flush(gateway.gateway()).unwrap();
    let empty = line_at_rest(&mut watch, "totals.ended", all);
    assert_eq!(number(&empty, "totals.entries"), 0, "{empty}");
    assert_eq!(number(&empty, "witness.difference"), 0, "{empty}");
    assert_consistent(&gateway, &empty);
    let resident_kb = resident_kb(&watch);
    assert!(resident_kb <= RESIDENT_KB_MAX, "{resident_kb} kB resident");
    stop(watch).unwrap();
}

/// The line after the one in which `path` has reached `expected`.
#[track_caller]
fn line_at_rest(watch: &mut Ctwatch, path: &str, expected: u64) -> Value {
    let expected = i64::try_from(expected).unwrap();
    watch
        .find(PATIENCE, &format!("{path} = {expected}"), |line| {
            Ok((number(&line.json, path) == expected).then_some(()))
        })
        .unwrap();
    watch.next(PATIENCE).unwrap().json
}
