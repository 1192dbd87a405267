//! The kernel's own numbers of the table, read once an interval.

use crate::{
    host::{
        memory,
        namespace::NetworkNamespace,
        sysctl::{ConntrackFiles, ConntrackFilesError},
    },
    model::{observation::TableReading, snapshot::KernelStatistics},
};

/// The open files, and what does not change.
#[derive(Debug)]
pub(super) struct TableFiles {
    files: ConntrackFiles,
    entry_bytes: Option<u64>,
}

impl TableFiles {
    /// Opens the files of a namespace.
    ///
    /// # Errors
    ///
    /// If conntrack is not there, or they cannot be read.
    pub(super) fn open(namespace: &NetworkNamespace) -> Result<Self, ConntrackFilesError> {
        Ok(Self { files: ConntrackFiles::open_in(namespace)?, entry_bytes: memory::entry_bytes() })
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// If conntrack is gone, or the kernel writes something unknown.
    pub(super) fn read(&mut self) -> Result<(TableReading, KernelStatistics), ConntrackFilesError> {
        let kernel = self.files.statistics()?;
        let buckets = self.files.buckets()?;
        let limit = self.files.limit()?;
        let entries = self.files.count()?;
        let memory_bytes = self
            .entry_bytes
            .map(|entry_bytes| memory::table_memory_bytes(entries, buckets, entry_bytes));
        Ok((TableReading { entries, limit, buckets: Some(buckets), memory_bytes }, kernel))
    }
}
