//! Lists all entries of the table through `/proc/net/nf_conntrack`, for kernels where ctnetlink is not loaded;
//! it only reads, and costs no more than its time allows.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    entry::Entry,
    proc_line::{self, LineHeads},
};
use crate::host::namespace::{NamespaceError, NetworkNamespace};

/// `/proc/net` would be the namespace of the process's first thread.
const LISTING: &str = "/proc/thread-self/net/nf_conntrack";
/// The kernel gives a page for each read (`seq_read_iter`, fs/seq_file.c); room for more does no harm.
const READ_BYTES: usize = 32 * 1024;
/// A listing that takes longer is given up.
///
/// Kernels before 6.16 go through the whole table from its beginning for each page that is read, so that the
/// time grows with the square of the entries (`ct_get_idx`, net/netfilter/nf_conntrack_standalone.c). Measured:
/// 0.26 s for 100 000 entries on 6.18, where ctnetlink takes 0.23 s; emulated, 2 s for 40 000 and 21 s for 80 000
/// entries on 6.1, where ctnetlink takes 0.3 s and 1.1 s.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Why the table cannot be listed through /proc.
#[derive(Debug, thiserror::Error)]
pub enum ProcListingError {
    /// The kernel was built without the file.
    #[error("this kernel has no /proc/net/nf_conntrack (CONFIG_NF_CONNTRACK_PROCFS)")]
    NotThere,
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel does not let this user read it.
    #[error("no permission to read /proc/net/nf_conntrack: run as root")]
    NotPermitted,
    /// It cannot be opened or read; conntrack may have been unloaded.
    #[error("cannot read /proc/net/nf_conntrack: {0}")]
    Read(#[source] io::Error),
    /// It took too long.
    #[error(
        "/proc/net/nf_conntrack could not be read in {} s, which kernels before 6.16 need much longer for where \
         there are many entries: load ctnetlink with 'modprobe nf_conntrack_netlink', and start again",
        TIME_MAX.as_secs()
    )]
    TooSlow,
    /// Whoever took the entries did not want the rest of them.
    #[error("the listing of /proc/net/nf_conntrack was broken off")]
    BrokenOff,
}

impl From<io::Error> for ProcListingError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotThere,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::Read(error),
        }
    }
}

/// The file, open. It stays bound to the namespace it was opened in (`seq_open_net`, fs/proc/proc_net.c).
#[derive(Debug)]
pub struct ProcListing {
    file: File,
}

/// How a listing went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcReport {
    /// Entries that were handed on.
    pub entries: u64,
    /// Lines that could not be read.
    pub decode_errors: u64,
    /// How long it took.
    pub duration: Duration,
}

impl ProcListing {
    /// Opens the file in a namespace.
    ///
    /// # Errors
    ///
    /// See [`ProcListingError`].
    pub fn open_in(namespace: &NetworkNamespace) -> Result<Self, ProcListingError> {
        let file = namespace.run(|| File::open(LISTING))??;
        Ok(Self { file })
    }

    /// A listing that comes from another file of the same format.
    #[cfg(test)]
    pub(crate) fn of_file(file: File) -> Self {
        Self { file }
    }

    /// Lists the table and calls `each` with every entry until that says to break off; blocks until the end.
    ///
    /// Like ctnetlink's listing, this one leaves out entries that have expired, and frees them on the way
    /// (`nf_ct_should_gc` in `ct_seq_show`), up to 6.15 also those of other namespaces; and those that wait for
    /// their first packet to leave, which are not in the table yet. `nf_conntrack_count` counts both. Entries
    /// that come or go meanwhile may make others be skipped or repeated: before 6.16 every page begins at the
    /// number of the entry that the last one ended with.
    ///
    /// # Errors
    ///
    /// The file cannot be read, it took too long, or `each` broke off. Some entries may have been handed on by
    /// then.
    pub fn list(
        &mut self,
        mut each: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<ProcReport, ProcListingError> {
        let start = Instant::now();
        let mut report = ProcReport { entries: 0, decode_errors: 0, duration: Duration::ZERO };
        let mut line = |line: &[u8]| match proc_line::entry(line) {
            Ok(entry) => {
                report.entries += 1;
                match each(&entry) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(ProcListingError::BrokenOff),
                }
            }
            Err(_) => {
                report.decode_errors += 1;
                Ok(())
            }
        };
        self.file.rewind()?;
        let mut heads = LineHeads::default();
        let mut read = vec![0; READ_BYTES];
        loop {
            let bytes = match self.file.read(&mut read) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            if bytes == 0 {
                break;
            }
            heads.take(read.get(..bytes).unwrap_or_default(), &mut line)?;
            if start.elapsed() > TIME_MAX {
                return Err(ProcListingError::TooSlow);
            }
        }
        if let Some(rest) = heads.rest() {
            line(rest)?;
        }
        report.duration = start.elapsed();
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn listing(text: &str) -> ProcListing {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        ProcListing::of_file(file)
    }

    fn lines(count: u32) -> String {
        let line = |number: u32| {
            format!(
                "ipv4     2 udp      17 599 src=10.0.0.{} dst=192.0.2.1 sport={number} dport=53 [UNREPLIED] \
                 src=192.0.2.1 dst=10.0.0.1 sport=53 dport={number} mark=0 zone=0 use=2\n",
                number % 2,
            )
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn every_entry_is_handed_on_each_time_that_it_is_listed() {
        let mut listing = listing(&lines(1000));
        for _ in 0..2 {
            let mut ports = Vec::new();
            let report = listing
                .list(|entry| {
                    ports.push(entry.original.source_port);
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!((report.entries, report.decode_errors), (1000, 0));
            assert!(ports.into_iter().eq(0..1000));
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_counted_and_hides_no_other() {
        let text = format!("{}nonsense\n\n{}", lines(2), lines(3).trim_end());
        let report = listing(&text).list(|_| ControlFlow::Continue(())).unwrap();
        assert_eq!((report.entries, report.decode_errors), (5, 2));
    }

    #[test]
    fn a_listing_can_be_broken_off() {
        let mut entries = 0;
        let error = listing(&lines(1000))
            .list(|_| {
                entries += 1;
                if entries < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .unwrap_err();
        assert!(matches!(error, ProcListingError::BrokenOff), "{error}");
        assert_eq!(entries, 3);
    }
}
