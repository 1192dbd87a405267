//! The files in which conntrack tells its size and its statistics, opened once inside a network namespace
//! and read again at every tick; nothing is ever written to them.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::model::snapshot::KernelStatistics;

use super::{
    namespace::{NamespaceError, NetworkNamespace},
    statistics::{self, StatisticsAccumulator, StatisticsError},
};

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";
/// `/proc/net` would be the namespace of the process's first thread.
const STATISTICS: &str = "/proc/thread-self/net/stat/nf_conntrack";

/// Why conntrack's files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackFilesError {
    /// conntrack is not in the kernel, or has just been removed.
    #[error("connection tracking is not loaded: there is no {COUNT}")]
    NotLoaded,
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A file cannot be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file holds something else than a number.
    #[error("{path} holds no number: '{text}'")]
    NoNumber {
        /// The file.
        path: &'static str,
        /// What it holds.
        text: String,
    },
    /// The statistics are not what the kernel writes.
    #[error("cannot understand {STATISTICS}")]
    Statistics(#[from] StatisticsError),
}

/// conntrack's files of one namespace.
///
/// Each stays bound to the namespace it was opened in: a sysctl file to the table of the namespace
/// (`proc_sys_open`, fs/proc/proc_sysctl.c), the statistics to the namespace itself, which it keeps alive
/// (`seq_open_net`, fs/proc/proc_net.c). So reading them later asks nobody to enter the namespace.
#[derive(Debug)]
pub struct ConntrackFiles {
    count: File,
    limit: File,
    buckets: File,
    statistics: Option<File>,
    accumulator: StatisticsAccumulator,
}

impl ConntrackFiles {
    /// Opens the files inside a namespace.
    ///
    /// # Errors
    ///
    /// [`ConntrackFilesError::NotLoaded`] if the kernel has no conntrack; otherwise a file or the namespace
    /// cannot be opened.
    pub fn open_in(namespace: &NetworkNamespace) -> Result<Self, ConntrackFilesError> {
        namespace.run(|| {
            Ok(Self {
                count: open(COUNT)?,
                limit: open(LIMIT)?,
                buckets: open(BUCKETS)?,
                statistics: open_if_there(STATISTICS)?,
                accumulator: StatisticsAccumulator::default(),
            })
        })?
    }

    /// The entries that the table holds now: all that are allocated, whether confirmed, expired or dying
    /// (`nf_conntrack_count`).
    ///
    /// # Errors
    ///
    /// [`ConntrackFilesError::NotLoaded`] once the module has been removed; open the files again then.
    pub fn count(&self) -> Result<u64, ConntrackFilesError> {
        number(&self.count, COUNT)
    }

    /// The entries that each namespace may hold (`nf_conntrack_max`); `None` is no limit, which kernels up
    /// to 6.18 write as 0.
    ///
    /// # Errors
    ///
    /// As [`Self::count`].
    pub fn limit(&self) -> Result<Option<u64>, ConntrackFilesError> {
        Ok(Some(number(&self.limit, LIMIT)?).filter(|&limit| limit > 0))
    }

    /// The buckets of the one hash table that all namespaces share (`nf_conntrack_buckets`).
    ///
    /// # Errors
    ///
    /// As [`Self::count`].
    pub fn buckets(&self) -> Result<u64, ConntrackFilesError> {
        number(&self.buckets, BUCKETS)
    }

    /// Whether the kernel has the statistics file. Kernels without `CONFIG_NF_CONNTRACK_PROCFS`, such as
    /// Ubuntu's, have not; there ctnetlink tells the same numbers.
    pub fn has_statistics(&self) -> bool {
        self.statistics.is_some()
    }

    /// The statistics of the namespace, as totals that never go back while these files are open; all `None`
    /// where the kernel has no such file.
    ///
    /// # Errors
    ///
    /// As [`Self::count`], and the text is not understood.
    pub fn statistics(&mut self) -> Result<KernelStatistics, ConntrackFilesError> {
        let Some(file) = &self.statistics else { return Ok(KernelStatistics::default()) };
        let text = read(file, STATISTICS)?;
        Ok(self.accumulator.add(&statistics::parse(&text)?))
    }

    /// The statistics of each CPU since the namespace was made; empty where the kernel has no such file.
    ///
    /// # Errors
    ///
    /// As [`Self::statistics`].
    pub fn statistics_by_cpu(&self) -> Result<Vec<KernelStatistics>, ConntrackFilesError> {
        let Some(file) = &self.statistics else { return Ok(Vec::new()) };
        let cpus = statistics::parse(&read(file, STATISTICS)?)?;
        Ok(cpus.iter().map(statistics::of_cpu).collect())
    }
}

fn open(path: &'static str) -> Result<File, ConntrackFilesError> {
    File::open(path).map_err(|source| read_error(path, source))
}

fn open_if_there(path: &'static str) -> Result<Option<File>, ConntrackFilesError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(read_error(path, source)),
    }
}

/// Once the module is gone a sysctl file says `ENOENT` (`use_table`, fs/proc/proc_sysctl.c) and the
/// statistics say `EIO` (`proc_reg_read`, fs/proc/inode.c).
fn read_error(path: &'static str, source: io::Error) -> ConntrackFilesError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::EIO) => ConntrackFilesError::NotLoaded,
        _ => ConntrackFilesError::Read { path, source },
    }
}

fn number(file: &File, path: &'static str) -> Result<u64, ConntrackFilesError> {
    let text = read(file, path)?;
    let number = text.trim_end();
    number.parse().map_err(|_| ConntrackFilesError::NoNumber { path, text: number.to_owned() })
}

/// Reads a file from its beginning to its end. A file of sequences gives about a page at a time.
fn read(file: &File, path: &'static str) -> Result<String, ConntrackFilesError> {
    let mut text = Vec::new();
    let mut page = [0; 4096];
    loop {
        let bytes = match file.read_at(&mut page, text.len() as u64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(|source| read_error(path, source))?,
        };
        if bytes == 0 {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        text.extend_from_slice(page.get(..bytes).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn files(count: &str, limit: &str, statistics: Option<&str>) -> ConntrackFiles {
        ConntrackFiles {
            count: file(count),
            limit: file(limit),
            buckets: file("65536\n"),
            statistics: statistics.map(file),
            accumulator: StatisticsAccumulator::default(),
        }
    }

    #[test]
    fn the_same_files_are_read_again_and_again() {
        let rows = "00000001 00000002\n".repeat(600);
        let mut files = files("61000\n", "65536\n", Some(&format!("entries drop\n{rows}")));
        for _ in 0..2 {
            assert_eq!(files.count().unwrap(), 61_000);
            assert_eq!(files.limit().unwrap(), Some(65_536));
            assert_eq!(files.buckets().unwrap(), 65_536);
            assert_eq!(files.statistics().unwrap().drop, Some(1200));
        }
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        assert_eq!(files("1\n", "0\n", None).limit().unwrap(), None);
    }

    #[test]
    fn without_the_statistics_file_nothing_is_known_and_nothing_is_zero() {
        let mut files = files("1\n", "0\n", None);
        assert!(!files.has_statistics());
        assert_eq!(files.statistics().unwrap(), KernelStatistics::default());
    }

    #[test]
    fn what_is_no_number_is_shown() {
        let error = files("many\n", "1\n", None).count().unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc/sys/net/netfilter/nf_conntrack_count holds no number: 'many'"
        );
    }
}
