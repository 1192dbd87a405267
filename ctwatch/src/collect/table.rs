//! The kernel's own numbers of the table, read once an interval.

use crate::{
    conntrack::dump::DumpSocket,
    host::{
        memory,
        namespace::NetworkNamespace,
        statistics::StatisticsAccumulator,
        sysctl::{ConntrackFiles, ConntrackFilesError},
    },
    model::{observation::TableReading, snapshot::KernelStatistics},
};

/// The open files, and what does not change.
#[derive(Debug)]
pub(super) struct TableFiles {
    files: ConntrackFiles,
    entry_bytes: Option<u64>,
    statistics: StatisticsSource,
}

/// Who tells the statistics of each CPU.
#[derive(Debug)]
enum StatisticsSource {
    /// The file in /proc.
    Proc,
    /// ctnetlink, where the kernel has no such file.
    Ctnetlink(Box<CtnetlinkStatistics>),
    /// Nobody.
    Unknown,
}

#[derive(Debug)]
struct CtnetlinkStatistics {
    socket: DumpSocket,
    accumulator: StatisticsAccumulator,
}

impl TableFiles {
    /// Opens the files of a namespace.
    ///
    /// # Errors
    ///
    /// If conntrack is not there, or they cannot be read.
    pub(super) fn open(namespace: &NetworkNamespace) -> Result<Self, ConntrackFilesError> {
        let files = ConntrackFiles::open_in(namespace)?;
        let statistics = if files.has_statistics() {
            StatisticsSource::Proc
        } else {
            StatisticsSource::of_ctnetlink(namespace)
        };
        Ok(Self { files, entry_bytes: memory::entry_bytes(), statistics })
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// If conntrack is gone, or the kernel writes something unknown.
    pub(super) fn read(&mut self) -> Result<(TableReading, KernelStatistics), ConntrackFilesError> {
        let kernel = self.statistics.read(&mut self.files)?;
        let buckets = self.files.buckets()?;
        let limit = self.files.limit()?;
        let entries = self.files.count()?;
        let memory_bytes = self
            .entry_bytes
            .map(|entry_bytes| memory::table_memory_bytes(entries, buckets, entry_bytes));
        Ok((TableReading { entries, limit, buckets: Some(buckets), memory_bytes }, kernel))
    }
}

impl StatisticsSource {
    fn of_ctnetlink(namespace: &NetworkNamespace) -> Self {
        match DumpSocket::open_in(namespace) {
            Ok(socket) => Self::Ctnetlink(Box::new(CtnetlinkStatistics {
                socket,
                accumulator: StatisticsAccumulator::default(),
            })),
            Err(_) => Self::Unknown,
        }
    }

    /// The totals; all unknown where nobody tells them.
    fn read(
        &mut self,
        files: &mut ConntrackFiles,
    ) -> Result<KernelStatistics, ConntrackFilesError> {
        let Self::Ctnetlink(ctnetlink) = self else { return files.statistics() };
        match ctnetlink.socket.statistics() {
            Ok(cpus) => Ok(ctnetlink.accumulator.add(&cpus)),
            Err(_) => {
                // The module may have been removed. What is not told any more is not known any more.
                *self = Self::Unknown;
                Ok(KernelStatistics::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ctwatch_lab::skip;

    use super::*;
    use crate::host::namespace::NamespaceTarget;

    /// Where this kernel and user have both, they tell the same.
    #[test]
    fn ctnetlink_tells_the_numbers_of_the_file() {
        let namespace = NetworkNamespace::open(&NamespaceTarget::OwnNamespace).unwrap();
        let Ok(mut files) = ConntrackFiles::open_in(&namespace) else {
            return skip("connection tracking is not loaded");
        };
        let mut ctnetlink = StatisticsSource::of_ctnetlink(&namespace);
        let told = ctnetlink.read(&mut files).unwrap();
        if !files.has_statistics() || matches!(ctnetlink, StatisticsSource::Unknown) {
            return skip("the statistics cannot be had in both ways");
        }
        let read = StatisticsSource::Proc.read(&mut files).unwrap();
        // Other programs of this machine may be at work between the two readings.
        assert!(told.drop <= read.drop && told.insert <= read.insert, "{told:?} {read:?}");
        assert_eq!(told.drop.is_some(), read.drop.is_some());
        assert_eq!(told.expect_new, None);
    }
}
