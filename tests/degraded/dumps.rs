//! Looking costs what it may: between two listings of the table there is a pause of twenty times what one takes.

use std::num::NonZeroU64;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ctwatch::conntrack::listing::Listing;
use ctwatch::model::trace::Listed;
use ctwatch_lab::{Flood, FlowPlan, skip, wait};
use serde_json::Value;

use crate::listing::open;
use crate::observed::{at, gateway, ip, wait_for_entries, watch};

/// Enough that a listing takes some tens of milliseconds.
const ENTRIES: u64 = 10_000;
/// How many listings are waited for after the first.
const FURTHER_LISTINGS: u32 = 4;
/// After a listing there is a pause of twenty times what it took.
const CYCLE: u32 = 21;
/// When a listing is seen depends on the interval in which it ends.
const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn listings_keep_their_duty_cycle() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), ENTRIES).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, ENTRIES);
    let namespace = open(gateway.gateway());
    let mut listing = match Listing::open_in(&namespace) {
        Ok(listing) => listing,
        Err(error) => return skip(&error.to_string()),
    };
    // The same listing, taken here: ctwatch's own may be slower, but hardly faster than the fastest of five.
    let mut take = || {
        let (began, mut listed) = (Instant::now(), Listed::default());
        listing.list(namespace.inode(), &AtomicBool::new(false), &mut listed).unwrap();
        began.elapsed()
    };
    let fastest = (0..5).map(|_| take()).min().unwrap();

    let (mut watch, _) = watch(&gateway, "100ms");
    // Each listing finds another number of entries than the one before.
    let rate_per_s = NonZeroU64::new(100).unwrap();
    let trickle = FlowPlan::udp(ip("10.0.1.3"), 100_000).at_rate(rate_per_s);
    let trickle = Flood::start(gateway.client(), trickle).unwrap();
    let mut last = Value::Null;
    let mut next_listing = || {
        watch
            .find(wait::PATIENCE, "another listing", |line| {
                let entries = at(&line.json, "totals.entries");
                let another = !entries.is_null() && *entries != last;
                last = entries.clone();
                Ok(another.then_some(line.at))
            })
            .unwrap()
    };
    let first = next_listing();
    let end = (0..FURTHER_LISTINGS).map(|_| next_listing()).last().unwrap();
    trickle.stop().unwrap();
    let took = end - first + INTERVAL;
    let least = FURTHER_LISTINGS * CYCLE * fastest * 4 / 5;
    println!("{FURTHER_LISTINGS} listings, each of at least {fastest:?}, in {took:?}");
    assert!(took >= least, "{took:?}, and {least:?} is the least that is right");
}
