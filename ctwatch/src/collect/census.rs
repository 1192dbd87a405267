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

/// Takes listings, those of all namespaces one after another. Dropping it breaks off the one that is running.
#[derive(Debug)]
pub(super) struct CensusTaker {
    /// Of whom destinations are counted; of everybody unless said.
    destinations_of: Option<IpNet>,
    running: Option<Running>,
    duty_cycle: DutyCycle,
}

/// A listing that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// The namespace whose table was listed.
    pub(super) netns: u32,
    /// The way to list it, to be used again; `None` if it is lost.
    pub(super) listing: Option<Listing>,
    /// What it said.
    pub(super) dumped: Result<Dumped, ListingError>,
}

#[derive(Debug)]
struct Running {
    netns: u32,
    task: JoinHandle<(Listing, Listed, Result<u64, ListingError>)>,
    before: RowReading,
    started: Instant,
    stop: Arc<AtomicBool>,
}

impl CensusTaker {
    /// Has listed nothing yet.
    pub(super) fn new(destinations_of: Option<IpNet>) -> Self {
        let duty_cycle = DutyCycle { next_allowed: Instant::now() };
        Self { destinations_of, running: None, duty_cycle }
    }

    /// Whether no listing is running.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Whether a listing may begin now.
    pub(super) fn is_allowed(&self) -> bool {
        self.is_idle() && self.duty_cycle.allows(Instant::now())
    }

    /// Begins a listing, in place of one that is running, and adds its entries to `listed`; `before` are the rows
    /// of the namespace as they are now.
    pub(super) fn begin(
        &mut self,
        netns: u32,
        mut listing: Listing,
        before: RowReading,
        mut listed: Listed,
    ) {
        self.break_off();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let started = Instant::now();
        listed.begin_walk(self.destinations_of);
        let task = tokio::task::spawn_blocking(move || {
            let decode_errors = listing.list(netns, &told, &mut listed);
            (listing, listed, decode_errors)
        });
        self.running = Some(Running { netns, task, before, started, stop });
    }

    /// Waits for the listing that is running; for ever if none is. Safe to be dropped and called again.
    pub(super) async fn finished(&mut self) -> Finished {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let result = (&mut running.task).await;
        let netns = running.netns;
        let before = std::mem::take(&mut running.before);
        self.duty_cycle.ended(running.started, Instant::now());
        self.running = None;
        match result {
            Ok((listing, listed, decode_errors)) => {
                let may_skip = listing.may_skip();
                let dumped = decode_errors.map(|decode_errors| Dumped {
                    listed,
                    at: clock::now(),
                    before,
                    decode_errors,
                    may_skip,
                });
                Finished { netns, listing: Some(listing), dumped }
            }
            // The task is never cancelled and does not panic; if it did, there would be no more listings.
            Err(_) => Finished { netns, listing: None, dumped: Err(ListingError::Ended) },
        }
    }

    /// Breaks off the listing of this namespace, if it is the one that is running.
    pub(super) fn forget(&mut self, netns: u32) {
        if self.running.as_ref().is_some_and(|running| running.netns == netns) {
            self.break_off();
        }
    }

    fn break_off(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for CensusTaker {
    fn drop(&mut self) {
        // Without this the runtime would wait for the end of a long listing that nobody wants any more.
        self.break_off();
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

    /// A listing of `entries` entries, half of them of each of two sources.
    fn listing(entries: u16) -> Listing {
        let mut file = tempfile::tempfile().unwrap();
        for port in 0..entries {
            let last = port % 2;
            writeln!(
                file,
                "ipv4     2 udp      17 599 src=10.0.0.{last} dst=192.0.2.1 sport={port} dport=53 use=2"
            )
            .unwrap();
        }
        Listing::Procfs(ProcListing::of_file(file))
    }

    fn begin(taker: &mut CensusTaker, listing: Listing) {
        taker.begin(NETNS, listing, RowReading::default(), Listed::default());
    }

    #[tokio::test]
    async fn a_listing_counts_the_entries_of_each_source() {
        let mut taker = CensusTaker::new(None);
        let mut listing = listing(1000);
        for _ in 0..2 {
            begin(&mut taker, listing);
            let finished = taker.finished().await;
            let dumped = finished.dumped.unwrap();
            let held = [0, 1].map(|last| {
                let address = Ipv4Addr::new(10, 0, 0, last);
                (source::key(NETNS, address.into(), 17), 500)
            });
            assert_eq!((finished.netns, dumped.decode_errors), (NETNS, 0));
            let mut listed = dumped.listed;
            assert_eq!(listed.take_walk(dumped.at).census.entries, 1000);
            assert_eq!(listed.into_held(), HashMap::from(held));
            listing = finished.listing.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_listing_there_is_a_pause_of_twenty_times_what_it_took() {
        let mut taker = CensusTaker::new(None);
        for took in [Duration::from_millis(50), Duration::from_secs(3)] {
            assert!(taker.is_allowed());
            begin(&mut taker, listing(10));
            assert!(!taker.is_allowed(), "one at a time");
            tokio::time::advance(took).await;
            taker.finished().await.dumped.unwrap();
            assert!(!taker.is_allowed());
            tokio::time::advance(20 * took - Duration::from_millis(1)).await;
            assert!(!taker.is_allowed());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    /// One thread for what blocks, and that one is occupied until `let_go` is called: a listing that begins meanwhile can
    /// not be over before it is told to stop.
    fn occupied<T>(work: impl AsyncFnOnce(std::sync::mpsc::Sender<()>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (let_go, occupied) = std::sync::mpsc::channel();
        runtime.block_on(async {
            // It ends when it is let go, or when nobody is left who could.
            let _occupying = tokio::task::spawn_blocking(move || occupied.recv());
            work(let_go).await
        })
    }

    #[test]
    fn a_listing_that_is_told_to_stop_is_broken_off() {
        let error = occupied(async |let_go| {
            let mut taker = CensusTaker::new(None);
            begin(&mut taker, listing(1000));
            taker.running.as_ref().unwrap().stop.store(true, Ordering::Relaxed);
            let_go.send(()).unwrap();
            taker.finished().await.dumped.unwrap_err()
        });
        assert!(error.to_string().contains("broken off"), "{error}");
    }

    #[tokio::test]
    async fn a_listing_that_nobody_wants_any_more_is_told_to_stop() {
        let mut taker = CensusTaker::new(None);
        begin(&mut taker, listing(1000));
        let stop = Arc::clone(&taker.running.as_ref().unwrap().stop);
        taker.forget(NETNS + 1);
        assert!(!stop.load(Ordering::Relaxed));
        taker.forget(NETNS);
        assert!(stop.load(Ordering::Relaxed) && taker.is_idle());
        begin(&mut taker, listing(1000));
        let stop = Arc::clone(&taker.running.as_ref().unwrap().stop);
        drop(taker);
        assert!(stop.load(Ordering::Relaxed));
    }
}
