//! Which network namespaces are looked at: one, or all that track connections, as they come and go.
//!
//! A namespace lives as long as anybody has a socket or a file of /proc/net of it open. So what is kept open of one is
//! closed as soon as neither a name nor a process leads to it any more.

use std::collections::HashSet;

use super::{
    CollectError,
    census::CensusTaker,
    roster::Roster,
    scan::{LookInto, Scanner, Seen, scan},
    source::Source,
    tracked::{KernelStart, Tracked},
};
use crate::{
    clock,
    host::{
        namespace::{NamespaceTarget, NetworkNamespace},
        namespace_list::{FoundNamespace, all_namespaces},
        sysctl::{ConntrackFiles, ConntrackFilesError},
    },
    model::{limits::Limits, moment::Moment, rows::RowReading},
    probe::error::sentence,
};

/// Namespaces that are looked at at most: each takes seven descriptors.
pub const NAMESPACES_MAX: usize = 128;

/// Where all are looked at each may remember this share of the sources that one alone may.
const SHARES: usize = 16;

/// Which namespaces to look at.
#[derive(Debug)]
pub enum Choice {
    /// This one.
    One(NetworkNamespace),
    /// All that track connections, now or later.
    All,
}

/// Follows who comes and goes.
#[derive(Debug)]
pub(super) struct Membership {
    /// conntrack's files of the own namespace, which tell that it is still there whichever others are; only where
    /// all namespaces are looked at.
    of_all: Option<ConntrackFiles>,
    scanner: Scanner,
    /// Numbers that rows have and no namespace that was found.
    not_found: HashSet<u32>,
    limits: Limits,
}

impl Membership {
    /// Begins to look at the namespaces that there are.
    ///
    /// # Errors
    ///
    /// If conntrack is not there, or the one namespace cannot be looked at.
    pub(super) fn begin(
        choice: Choice,
        limits: Limits,
        roster: &mut Roster,
        source: &Source,
    ) -> Result<Self, CollectError> {
        let now = clock::now();
        let mut membership =
            Self { of_all: None, scanner: Scanner::new(), not_found: HashSet::new(), limits };
        match choice {
            Choice::One(namespace) => {
                let found = found(&namespace);
                let mut tracked = Tracked::open(found, &namespace, source, limits, now)?;
                tracked.begin_kernel(KernelStart::Now, || rows_of(source, namespace.inode()))?;
                roster.add(tracked);
            }
            Choice::All => {
                membership.limits.remembered_sources /= SHARES;
                let own = NetworkNamespace::open(&NamespaceTarget::OwnNamespace)
                    .map_err(ConntrackFilesError::Namespace)?;
                membership.of_all = Some(ConntrackFiles::open_in(&own)?);
                for Seen { found, tracks } in scan(&LookInto::AllBut(HashSet::new())) {
                    if tracks {
                        membership.follow(found, KernelStart::Now, now, roster, source);
                    }
                }
            }
        }
        Ok(membership)
    }

    /// Whether all namespaces are looked at.
    pub(super) fn is_all(&self) -> bool {
        self.of_all.is_some()
    }

    /// Looks for new namespaces and for those that are gone if it is time for it, or something calls for it.
    ///
    /// # Errors
    ///
    /// If conntrack has been unloaded.
    pub(super) fn look(&mut self, roster: &Roster, source: &Source) -> Result<(), CollectError> {
        let mut due = roster.any(|tracked| tracked.target.inode() != Some(tracked.netns));
        let mut look_into = LookInto::None;
        if let Some(files) = &self.of_all {
            files.count()?;
            let strangers = roster.strangers();
            due |= !strangers.is_subset(&self.not_found);
            // Whoever asks for an entry has a row where it is hooked; elsewhere each has to be looked into.
            due |= self.scanner.is_due() && (source.is_degraded() || !strangers.is_empty());
            if source.is_degraded() {
                look_into = LookInto::AllBut(roster.numbers());
            }
        }
        if due {
            self.scanner.begin(look_into);
        }
        Ok(())
    }

    /// Waits for what was looked for; for ever if nothing is. Safe to be dropped and called again.
    pub(super) async fn changed(&mut self) -> Vec<Seen> {
        self.scanner.finished().await
    }

    /// Lets go of the namespaces that are gone, and begins to look at those that have come.
    ///
    /// # Errors
    ///
    /// If the only one is gone.
    pub(super) fn take(
        &mut self,
        seen: Vec<Seen>,
        last_tick: Moment,
        roster: &mut Roster,
        source: &mut Source,
        census: &mut CensusTaker,
    ) -> Result<(), CollectError> {
        let there: HashSet<u32> = seen.iter().map(|seen| seen.found.inode).collect();
        for netns in roster.numbers().difference(&there) {
            let Some(tracked) = roster.leave(*netns, source.read_rows()) else { continue };
            census.forget(*netns);
            if !self.is_all() {
                let name = tracked.name.as_deref().unwrap_or_default();
                return Err(CollectError::NamespaceGone(name.to_owned()));
            }
        }
        for Seen { found, tracks } in seen {
            if let Some(tracked) = roster.of(found.inode) {
                tracked.target = found.target;
                if self.is_all() {
                    tracked.name = Some(found.name.into());
                }
            } else if self.is_all() && (tracks || roster.strangers().contains(&found.inode)) {
                self.follow(found, KernelStart::Zero, last_tick, roster, source);
            }
        }
        if self.is_all() {
            let strangers = roster.strangers().clone();
            self.not_found = strangers.difference(&there).copied().collect();
            let gone = self.not_found.iter().copied().filter(|netns| !roster.is_departed(*netns));
            for netns in gone.collect::<Vec<u32>>() {
                roster.stranger_left(netns, source.read_rows());
            }
        }
        source.begin_first_census(census, roster);
        Ok(())
    }

    fn follow(
        &self,
        found: FoundNamespace,
        start: KernelStart,
        started: Moment,
        roster: &mut Roster,
        source: &Source,
    ) {
        if roster.len() >= NAMESPACES_MAX {
            return roster.miss(&format!(
                "more than {NAMESPACES_MAX} network namespaces track connections: the others are not shown"
            ));
        }
        let name = found.name.clone();
        match open(found, start, started, self.limits, source) {
            Ok(Some(tracked)) => {
                roster.come(tracked.netns, source.read_rows());
                roster.add(tracked);
            }
            // It is gone already.
            Ok(None) => {}
            Err(error) => roster.miss(&format!(
                "the network namespace {name} is not shown, because {}",
                sentence(&error)
            )),
        }
    }
}

/// What the hooks have counted of a namespace.
fn rows_of(source: &Source, netns: u32) -> RowReading {
    let (mut parts, _) = source.read_rows().divide(&[netns]);
    parts.pop().unwrap_or_default()
}

/// Opens a namespace that was found; `None` if it is gone, or conntrack is.
fn open(
    found: FoundNamespace,
    start: KernelStart,
    started: Moment,
    limits: Limits,
    source: &Source,
) -> Result<Option<Tracked>, ConntrackFilesError> {
    let namespace = match NetworkNamespace::open(&found.target) {
        Ok(namespace) if namespace.inode() == found.inode => namespace,
        Ok(_) => return Ok(None),
        Err(_) if found.target.inode() != Some(found.inode) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let opened = Tracked::open(found, &namespace, source, limits, started);
    match opened.and_then(|mut tracked| {
        tracked.begin_kernel(start, || rows_of(source, namespace.inode()))?;
        Ok(tracked)
    }) {
        Ok(tracked) => Ok(Some(tracked)),
        Err(ConntrackFilesError::NotLoaded) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is known of a namespace that was asked for: its name is what it was asked for by, else what it is called.
fn found(namespace: &NetworkNamespace) -> FoundNamespace {
    let (inode, target) = (namespace.inode(), namespace.target().clone());
    let name = match &target {
        NamespaceTarget::Name(name) => Some(name.clone()),
        _ => {
            all_namespaces().into_iter().find(|found| found.inode == inode).map(|found| found.name)
        }
    };
    FoundNamespace { inode, target, name: name.unwrap_or_default() }
}
