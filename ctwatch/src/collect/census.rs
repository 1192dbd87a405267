//! Listings of the table, one at a time on a thread of their own, and never too many of them.
//!
//! A listing costs the kernel some microseconds for each entry, so after one there is a pause of at least 20
//! times what it took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    clock,
    conntrack::listing::{Listing, ListingError},
    model::{
        aggregator::Aggregator, moment::Moment, observation::Observation, rows::RowReading,
        trace::Listed,
    },
};

/// After a listing there is a pause of so many times what it took.
const PAUSE_FACTOR: u32 = 20;

/// How many entries each source holds, by one listing.
#[derive(Debug)]
pub(super) struct Dumped {
    /// The entries by source, with those of the listings before it that they were added to.
    pub(super) listed: Listed,
    /// When the listing was over.
    pub(super) at: Moment,
    /// The rows just before.
    pub(super) before: RowReading,
    /// Messages that could not be decoded.
    pub(super) decode_errors: u64,
    /// See [`Listing::may_skip`].
    pub(super) may_skip: bool,
}

impl Dumped {
    /// Hands on what the listing tells besides who holds the table.
    pub(super) fn observe_walk(&mut self, aggregator: &mut Aggregator) {
        let walk = self.listed.take_walk(self.at);
        aggregator.observe(Observation::Walked(Box::new(walk)));
    }
}

/// Takes listings of one namespace. Dropping it breaks off the one that is running.
#[derive(Debug)]
pub(super) struct CensusTaker {
    netns: u32,
    /// Of whom destinations are counted; of everybody unless said.
    destinations_of: Option<IpNet>,
    listing: Option<Listing>,
    running: Option<Running>,
    duty_cycle: DutyCycle,
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<(Listing, Listed, Result<u64, ListingError>)>,
    before: RowReading,
    started: Instant,
}

impl CensusTaker {
    /// Lists the table in this way.
    pub(super) fn new(netns: u32, listing: Listing, destinations_of: Option<IpNet>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let duty_cycle = DutyCycle { next_allowed: Instant::now() };
        Self { netns, destinations_of, listing: Some(listing), running: None, duty_cycle, stop }
    }

    /// Whether a listing may begin now.
    pub(super) fn is_allowed(&self) -> bool {
        self.listing.is_some() && self.duty_cycle.allows(Instant::now())
    }

    /// Begins a listing if none is running, and adds its entries to `listed`; `before` are the rows as they are
    /// now.
    pub(super) fn begin(&mut self, before: RowReading, mut listed: Listed) {
        if let Some(mut listing) = self.listing.take() {
            let (netns, stop) = (self.netns, Arc::clone(&self.stop));
            let started = Instant::now();
            listed.begin_walk(self.destinations_of);
            let task = tokio::task::spawn_blocking(move || {
                let decode_errors = listing.list(netns, &stop, &mut listed);
                (listing, listed, decode_errors)
            });
            self.running = Some(Running { task, before, started });
        }
    }

    /// Waits for the listing that is running; for ever if none is. Safe to be dropped and called again.
    ///
    /// # Errors
    ///
    /// If the listing failed; another may be begun later.
    pub(super) async fn finished(&mut self) -> Result<Dumped, ListingError> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let result = (&mut running.task).await;
        self.duty_cycle.ended(running.started, Instant::now());
        let before = std::mem::take(&mut running.before);
        self.running = None;
        // The task is never cancelled and does not panic; if it did, there would be no more listings.
        let (listing, listed, decode_errors) = result.map_err(|_| ListingError::Ended)?;
        let may_skip = listing.may_skip();
        self.listing = Some(listing);
        Ok(Dumped { listed, at: clock::now(), before, decode_errors: decode_errors?, may_skip })
    }
}

impl Drop for CensusTaker {
    fn drop(&mut self) {
        // Without this the runtime would wait for the end of a long listing that nobody wants any more.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Says when the next listing may begin.
#[derive(Debug)]
struct DutyCycle {
    next_allowed: Instant,
}

impl DutyCycle {
    fn allows(&self, now: Instant) -> bool {
        now >= self.next_allowed
    }

    fn ended(&mut self, started: Instant, now: Instant) {
        let took: Duration = now.saturating_duration_since(started);
        self.next_allowed = now + took * PAUSE_FACTOR;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, io::Write as _, net::Ipv4Addr};

    use super::*;
    use crate::{conntrack::proc_listing::ProcListing, model::source};

    const NETNS: u32 = 5;

    /// A taker of listings with `entries` entries, half of them of each of two sources.
    fn taker(entries: u16) -> CensusTaker {
        let mut file = tempfile::tempfile().unwrap();
        for port in 0..entries {
            let last = port % 2;
            writeln!(
                file,
                "ipv4     2 udp      17 599 src=10.0.0.{last} dst=192.0.2.1 sport={port} dport=53 use=2"
            )
            .unwrap();
        }
        CensusTaker::new(NETNS, Listing::Procfs(ProcListing::of_file(file)), None)
    }

    #[tokio::test]
    async fn a_listing_counts_the_entries_of_each_source() {
        let mut taker = taker(1000);
        for _ in 0..2 {
            taker.begin(RowReading::default(), Listed::default());
            let dumped = taker.finished().await.unwrap();
            let held = [0, 1].map(|last| {
                let address = Ipv4Addr::new(10, 0, 0, last);
                (source::key(NETNS, address.into(), 17), 500)
            });
            assert_eq!(dumped.listed.held(), &HashMap::from(held));
            let mut listed = dumped.listed;
            assert_eq!(listed.take_walk(dumped.at).census.entries, 1000);
            assert_eq!(dumped.decode_errors, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_listing_there_is_a_pause_of_twenty_times_what_it_took() {
        let mut taker = taker(10);
        for took in [Duration::from_millis(50), Duration::from_secs(3)] {
            assert!(taker.is_allowed());
            taker.begin(RowReading::default(), Listed::default());
            assert!(!taker.is_allowed(), "one at a time");
            tokio::time::advance(took).await;
            taker.finished().await.unwrap();
            assert!(!taker.is_allowed());
            tokio::time::advance(20 * took - Duration::from_millis(1)).await;
            assert!(!taker.is_allowed());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_listing_that_nobody_wants_any_more_is_broken_off() {
        let mut taker = taker(1000);
        taker.stop.store(true, Ordering::Relaxed);
        taker.begin(RowReading::default(), Listed::default());
        let error = taker.finished().await.unwrap_err();
        assert!(error.to_string().contains("broken off"), "{error}");
        let stop = Arc::clone(&taker.stop);
        stop.store(false, Ordering::Relaxed);
        drop(taker);
        assert!(stop.load(Ordering::Relaxed));
    }
}
