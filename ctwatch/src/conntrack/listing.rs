//! Counts the entries of the table by source, through ctnetlink or, where that is not loaded, through /proc; it
//! loads no module to get there.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    dump::DumpSocket,
    entry::Entry,
    proc_listing::{ProcListing, ProcListingError},
    socket::ConntrackSocketError,
};
use crate::{host::namespace::NetworkNamespace, model::trace::Listed};

/// A way to list the table of one namespace.
#[derive(Debug)]
pub enum Listing {
    /// Through ctnetlink.
    Ctnetlink(DumpSocket),
    /// Through the file in /proc: somewhat slower, and before 6.16 much slower where there are many entries.
    Procfs(ProcListing),
}

/// Why the table could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// There is no way.
    #[error(
        "the conntrack table can be listed neither through ctnetlink nor through /proc: {ctnetlink}; {procfs}"
    )]
    NoWay {
        /// Why not through ctnetlink.
        #[source]
        ctnetlink: ConntrackSocketError,
        /// Why not through /proc.
        procfs: ProcListingError,
    },
    /// ctnetlink failed.
    #[error(transparent)]
    Ctnetlink(#[from] ConntrackSocketError),
    /// Reading the file failed.
    #[error(transparent)]
    Procfs(#[from] ProcListingError),
    /// The thread that listed it is gone.
    #[error("the listing of the conntrack table ended unexpectedly; please report this")]
    Ended,
}

impl Listing {
    /// Opens the better way that there is; it stays bound to the namespace.
    ///
    /// # Errors
    ///
    /// [`ListingError::NoWay`] if there is none; it says what to do.
    pub fn open_in(namespace: &NetworkNamespace) -> Result<Self, ListingError> {
        let ctnetlink = match DumpSocket::open_in(namespace) {
            Ok(socket) => return Ok(Self::Ctnetlink(socket)),
            Err(error) => error,
        };
        match ProcListing::open_in(namespace) {
            Ok(listing) => Ok(Self::Procfs(listing)),
            Err(procfs) => Err(ListingError::NoWay { ctnetlink, procfs }),
        }
    }

    /// Whether entries may be left out only because others come or go meanwhile. The file in /proc is read page
    /// by page, and before 6.16 a page resumes by the number of an entry, so that each one that has gone before it
    /// hides another.
    pub fn may_skip(&self) -> bool {
        matches!(self, Self::Procfs(_))
    }

    /// Lists the table and adds its entries to `listed`, and to its census; blocks until the end, or until `stop` is set.
    /// Returns how many could not be read.
    ///
    /// Both ways leave out the same entries, see [`DumpSocket::dump`] and [`ProcListing::list`].
    ///
    /// # Errors
    ///
    /// The kernel refused, it took too long, or it was stopped.
    pub fn list(
        &mut self,
        netns: u32,
        stop: &AtomicBool,
        listed: &mut Listed,
    ) -> Result<u64, ListingError> {
        self.each(|entry| {
            listed.walk(&entry.walked(netns));
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// Calls `each` with every entry of the table until that breaks off; blocks until the end. Returns how many could not
    /// be read.
    ///
    /// # Errors
    ///
    /// The kernel refused, it took too long, or `each` broke off.
    pub fn each(
        &mut self,
        each: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<u64, ListingError> {
        Ok(match self {
            Self::Ctnetlink(socket) => socket.dump(each)?.decode_errors,
            Self::Procfs(listing) => listing.list(each)?.decode_errors,
        })
    }
}
