//! What is found out only when somebody wants to see it, on threads of its own: advice, and where one source's connections
//! go.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::Interval;
use crate::{
    advise::{Diagnosis, bounds::Bounds, diagnose, facts::Modules},
    change::{firewall, state::State},
    clock,
    command::{blocking, diagnosis},
    conntrack::listing::Listing,
    host::{
        namespace::{NamespaceChoice, NamespaceTarget, NetworkNamespace},
        namespace_list::all_namespaces,
    },
    model::{
        census::Tally,
        recent::{Lately, Recent},
        source,
    },
    output::blocks::Report,
    screen::input::{Input, Request, Walked},
};

/// Advice is on at least so many seconds, and on less than twice as many.
const ADVISED_ON_S: f64 = 10.0;

/// What there is to find out from.
pub(super) struct Findings {
    choice: NamespaceChoice,
    state: State,
    screen: mpsc::Sender<Input>,
    recent: HashMap<u32, Recent>,
    stop: Arc<AtomicBool>,
}

impl Findings {
    /// Of the namespaces that are looked at; findings go to the screen.
    pub(super) fn new(choice: NamespaceChoice, state: State, screen: mpsc::Sender<Input>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        Self { choice, state, screen, recent: HashMap::new(), stop }
    }

    /// Takes in an interval.
    pub(super) fn take(&mut self, snapshots: &Interval) {
        self.recent.retain(|netns, _| snapshots.iter().any(|snapshot| snapshot.netns == *netns));
        for snapshot in snapshots {
            let begin = || Recent::new(ADVISED_ON_S, Arc::clone(snapshot));
            match self.recent.get_mut(&snapshot.netns) {
                Some(recent) => recent.take(Arc::clone(snapshot)),
                None => drop(self.recent.insert(snapshot.netns, begin())),
            }
        }
    }

    /// Finds advice on a namespace.
    pub(super) fn diagnose(&self, netns: u32) {
        let (choice, recent) = (self.choice.clone(), self.recent.get(&netns).cloned());
        self.find(move || {
            let found = match recent {
                Some(recent) => self::diagnose_lately(&choice, netns, recent.lately()),
                None => Err("nothing has been seen of this namespace yet".to_owned()),
            };
            Input::Diagnosed(netns, found.map(Arc::new))
        });
    }

    /// Walks the table of a namespace for one source.
    pub(super) fn walk(&self, request: Request) {
        let (choice, stop) = (self.choice.clone(), Arc::clone(&self.stop));
        self.find(move || Input::Walked(request, self::walk(&choice, request, &stop)));
    }

    /// Lists who is kept out of a namespace.
    pub(super) fn list_blocks(&self, netns: u32) {
        let (choice, state) = (self.choice.clone(), self.state.clone());
        self.find(move || {
            let listed = self::list_blocks(&choice, netns, &state);
            Input::Blocks(netns, listed.map(Arc::new))
        });
    }

    fn find(&self, work: impl FnOnce() -> Input + Send + 'static) {
        let screen = self.screen.clone();
        tokio::task::spawn_blocking(move || {
            // The screen may be gone by now.
            let _ = screen.blocking_send(work());
        });
    }
}

impl Drop for Findings {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn diagnose_lately(
    choice: &NamespaceChoice,
    netns: u32,
    lately: Lately,
) -> Result<Diagnosis, String> {
    let case = diagnosis::of_look(&target(choice, netns)?, lately, &Modules::default());
    Ok(diagnose(&case.map_err(|error| error.to_string())?, &Bounds::default()))
}

fn walk(choice: &NamespaceChoice, request: Request, stop: &AtomicBool) -> Result<Walked, String> {
    let target = target(choice, request.netns)?;
    let namespace = NetworkNamespace::open(&target).map_err(|error| error.to_string())?;
    let mut listing = Listing::open_in(&namespace).map_err(|error| error.to_string())?;
    let mut tally = Tally::new(None);
    let begun = clock::now();
    let each = listing.each(|entry| {
        let walked = entry.walked(request.netns);
        if source::is_of(&walked.flow.source, &request.network) {
            tally.add(&walked);
        }
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    each.map_err(|error| error.to_string())?;
    let ended = clock::now();
    let took = Duration::from_nanos(ended.monotonic_ns.saturating_sub(begun.monotonic_ns));
    let census = tally.end(ended).census;
    Ok(Walked { wall_ns: ended.wall_ns, took_s: took.as_secs_f64(), census })
}

fn list_blocks(choice: &NamespaceChoice, netns: u32, state: &State) -> Result<Report, String> {
    let namespace =
        NetworkNamespace::open(&target(choice, netns)?).map_err(|error| error.to_string())?;
    let listing = firewall::read(&namespace).map_err(|error| error.to_string())?;
    let place = blocking::place(&namespace).map_err(|error| error.to_string())?;
    Ok(blocking::report_of_all(&place, &listing, state))
}

/// How to open a namespace that is looked at.
pub(super) fn target(choice: &NamespaceChoice, netns: u32) -> Result<NamespaceTarget, String> {
    if let NamespaceChoice::One(target) = choice {
        return Ok(target.clone());
    }
    let found = all_namespaces().into_iter().find(|found| found.inode == netns);
    found.map(|found| found.target).ok_or_else(|| format!("the network namespace {netns} is gone"))
}
