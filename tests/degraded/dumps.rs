//! Looking costs what it may: between two listings of the table there is a pause of twenty times what one takes.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ctwatch::conntrack::dump::DumpSocket;
use ctwatch_lab::{Flood, FlowPlan, skip, wait};

use crate::listing::open;
use crate::observed::{at, gateway, ip, wait_for_entries, watch};

/// Enough that a listing takes some tens of milliseconds.
const ENTRIES: u64 = 10_000;
/// How long is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// After a listing there is a pause of twenty times what it took.
const CYCLE: u32 = 21;

#[test]
fn listings_keep_their_duty_cycle() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), ENTRIES).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, ENTRIES);
    let mut socket = match DumpSocket::open_in(&open(gateway.gateway())) {
        Ok(socket) => socket,
        Err(error) => return skip(&error.to_string()),
    };
    // The same listing, taken here: ctwatch's own may be slower, but hardly faster than the fastest of five.
    let fastest =
        (0..5).map(|_| socket.dump(|_| ControlFlow::Continue(())).unwrap().duration).min().unwrap();

    let (mut watch, _) = watch(&gateway, "100ms");
    // Each listing finds another number of entries than the one before.
    let rate_per_s = NonZeroU64::new(100).unwrap();
    let trickle = FlowPlan::udp(ip("10.0.1.3"), 100_000).at_rate(rate_per_s);
    let trickle = Flood::start(gateway.client(), trickle).unwrap();
    let end = Instant::now() + WATCHED;
    let (mut listings, mut last) = (0, 0);
    while Instant::now() < end {
        let line = watch.next(wait::PATIENCE).unwrap().json;
        let entries = at(&line, "totals.entries").as_u64().unwrap();
        listings += u32::from(entries != last);
        last = entries;
    }
    trickle.stop().unwrap();
    let most = WATCHED.as_secs_f64() / (f64::from(CYCLE) * fastest.as_secs_f64() * 0.8) + 2.0;
    println!("{listings} listings of at least {} ms in {WATCHED:?}", fastest.as_millis());
    assert!(listings >= 3, "the numbers are brought up to date");
    assert!(f64::from(listings) <= most, "{listings} listings, at most {most:.1} are right");
}
