//! What the kernel itself counted, read independently of ctwatch: the table, its statistics, the links. It must not
//! change anything but what a test asks for: a flush, or a global setting that is restored.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};

use crate::namespace::{Namespace, write_sysctl};
use crate::{init, program};

/// How many entries the table of `namespace` holds, those that have expired and are not yet reaped included
/// (`nf_conntrack_count`).
///
/// # Errors
/// When conntrack is not loaded.
pub fn entries(namespace: &Namespace) -> Result<u64> {
    namespace.within(|| read_number("/proc/sys/net/netfilter/nf_conntrack_count"))
}

/// How many entries the table may hold: global (`nf_conntrack_max`).
///
/// # Errors
/// When conntrack is not loaded.
pub fn limit() -> Result<u64> {
    read_number("/proc/sys/net/netfilter/nf_conntrack_max")
}

/// Statistics by name, summed over the CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics(BTreeMap<String, u64>);

impl Statistics {
    /// The counter called `name`; 0 if the kernel has none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Whether the kernel has a counter of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// How much each counter grew since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |(name, value): (&String, &u64)| {
            (name.clone(), value.saturating_sub(earlier.get(name)))
        };
        Self(self.0.iter().map(grown).collect())
    }
}

/// The statistics of `namespace` as `/proc/net/stat/nf_conntrack` has them. Its `entries` is one number for the table,
/// repeated for each CPU, and is not summed.
///
/// # Errors
/// When the file is not there (`CONFIG_NF_CONNTRACK_PROCFS`) or has another form.
pub fn statistics(namespace: &Namespace) -> Result<Statistics> {
    // /proc/net follows the process, not the thread.
    let path = "/proc/thread-self/net/stat/nf_conntrack";
    let text = namespace
        .within(|| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}")))?;
    parse_table(&text).with_context(|| format!("{path} has another form than expected"))
}

/// The statistics of `namespace` as `conntrack -S` prints them.
///
/// # Errors
/// When the program fails or prints another form.
pub fn conntrack_statistics(namespace: &Namespace) -> Result<Statistics> {
    let output = namespace.within(|| program::run("conntrack", &["-S"], ""))?;
    parse_pairs(&String::from_utf8_lossy(&output.stdout))
        .context("`conntrack -S` printed another form than expected")
}

/// How many entries of `source` a dump by `conntrack -L` lists. A dump leaves out expired entries, and reaps them.
///
/// # Errors
/// When the program fails.
pub fn listed(namespace: &Namespace, source: IpAddr) -> Result<u64> {
    let source_text = source.to_string();
    let output = namespace.within(|| {
        program::run("conntrack", &["-L", "-f", family(source), "-s", &source_text], "")
    })?;
    Ok(output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64)
}

/// Empties the table of `namespace`.
///
/// # Errors
/// When the program fails.
pub fn flush(namespace: &Namespace) -> Result<()> {
    namespace.within(|| program::run("conntrack", &["-F"], "").map(|_output| ()))
}

/// Deletes the entries of `source`, and says how many there were.
///
/// # Errors
/// When the program fails or does not say.
pub fn flush_source(namespace: &Namespace, source: IpAddr) -> Result<u64> {
    let source_text = source.to_string();
    let output = namespace.within(|| {
        program::run("conntrack", &["-D", "-f", family(source), "-s", &source_text], "")
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    parse_deleted(&said)
        .with_context(|| format!("`conntrack -D` did not say how many it deleted: {said}"))
}

/// What a network interface has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Packets received.
    pub received: u64,
    /// Received packets that were dropped.
    pub receive_dropped: u64,
    /// Packets transmitted.
    pub transmitted: u64,
    /// Packets that the other end had no room for.
    pub transmit_dropped: u64,
}

/// The counters of the interface `name` in `namespace`.
///
/// # Errors
/// When there is no such interface.
pub fn link(namespace: &Namespace, name: &str) -> Result<Link> {
    namespace.within(|| link_here(name))
}

/// The counters of the interface `name` in the calling thread's namespace.
pub(crate) fn link_here(name: &str) -> Result<Link> {
    let path = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    parse_link(&text, name).with_context(|| format!("no network interface {name} in {path}"))
}

/// A setting of the whole machine that has its old value back when this is dropped.
#[derive(Debug)]
pub struct GlobalSetting {
    path: String,
    before: String,
}

impl GlobalSetting {
    /// Sets how many entries every table of the machine may hold.
    ///
    /// # Errors
    /// See [`GlobalSetting::set`].
    pub fn limit(entries: u64) -> Result<Self> {
        Self::set("net/netfilter/nf_conntrack_max", entries)
    }

    /// Sets how many buckets the one hash table of the machine has.
    ///
    /// # Errors
    /// See [`GlobalSetting::set`].
    pub fn buckets(buckets: u64) -> Result<Self> {
        Self::set("net/netfilter/nf_conntrack_buckets", buckets)
    }

    /// Sets the sysctl at `path` below `/proc/sys`.
    ///
    /// # Errors
    /// When this is not the lab's own virtual machine, where alone a test may change such a thing, or when the kernel
    /// refuses the value.
    pub fn set(path: &str, value: u64) -> Result<Self> {
        ensure!(
            init::inside_lab(),
            "{path} belongs to the whole machine: it is changed only inside the lab's virtual machine"
        );
        let before = std::fs::read_to_string(format!("/proc/sys/{path}"))
            .with_context(|| format!("cannot read /proc/sys/{path}"))?;
        write_sysctl(path, &value.to_string())?;
        Ok(Self { path: path.to_owned(), before: before.trim().to_owned() })
    }
}

impl Drop for GlobalSetting {
    fn drop(&mut self) {
        // The virtual machine ends soon; a test that needs the old value will say what it found.
        let _unrestored = write_sysctl(&self.path, &self.before);
    }
}

fn read_number(path: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {path}: is conntrack loaded?"))?;
    text.trim().parse().with_context(|| format!("{path} holds no number: {text}"))
}

fn family(source: IpAddr) -> &'static str {
    match source {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    }
}

/// A header of names, then one line of hexadecimal numbers a CPU (net/netfilter/nf_conntrack_standalone.c,
/// `ct_cpu_seq_show`). Positions differ between kernels, names do not.
fn parse_table(text: &str) -> Result<Statistics> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().context("it is empty")?.split_whitespace().collect();
    let mut sums = BTreeMap::new();
    for line in lines {
        let values: Vec<&str> = line.split_whitespace().collect();
        ensure!(values.len() >= names.len(), "{} names but {} numbers", names.len(), values.len());
        for (name, value) in names.iter().zip(values) {
            let value = u64::from_str_radix(value, 16)
                .with_context(|| format!("{name} is no number: {value}"))?;
            let sum: &mut u64 = sums.entry((*name).to_owned()).or_default();
            *sum = if *name == "entries" { value } else { *sum + value };
        }
    }
    Ok(Statistics(sums))
}

/// One line a CPU: `cpu=0  found=0 invalid=0 …`.
fn parse_pairs(text: &str) -> Result<Statistics> {
    let mut sums = BTreeMap::new();
    for pair in text.split_whitespace() {
        let Some((name, value)) = pair.split_once('=') else {
            bail!("not NAME=NUMBER: {pair}");
        };
        if name != "cpu" {
            let value: u64 =
                value.parse().with_context(|| format!("{name} is no number: {value}"))?;
            *sums.entry(name.to_owned()).or_default() += value;
        }
    }
    Ok(Statistics(sums))
}

/// `conntrack v1.4.7 (conntrack-tools): 12 flow entries have been deleted.`
fn parse_deleted(text: &str) -> Option<u64> {
    let (before, _after) = text.split_once(" flow entries have been deleted")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Two lines of header, then `name:` and eight numbers each way: bytes, packets, errs, drop, … (net/core/net-procfs.c,
/// `dev_seq_printf_stats`).
fn parse_link(text: &str, name: &str) -> Option<Link> {
    let counters =
        text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    let numbers: Vec<u64> =
        counters.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    Some(Link {
        received: *numbers.get(1)?,
        receive_dropped: *numbers.get(3)?,
        transmitted: *numbers.get(9)?,
        transmit_dropped: *numbers.get(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_by_name_and_entries_are_not_summed() {
        let old = "entries  searched found drop early_drop\n0000002a  00000000 00000001 000000ff 00000001\n\
                   0000002a  00000000 00000002 00000001 00000000\n";
        let statistics = parse_table(old).unwrap();
        assert_eq!(
            ["entries", "found", "drop", "early_drop", "clashres"].map(|name| statistics.get(name)),
            [42, 3, 256, 1, 0]
        );
        assert!(parse_table("entries drop\n00000001\n").is_err());
    }

    #[test]
    fn pairs_are_summed_over_cpus() {
        let text =
            "cpu=0   \tfound=1 drop=20 early_drop=3 \ncpu=1   \tfound=0 drop=5 early_drop=0 \n";
        let statistics = parse_pairs(text).unwrap();
        assert_eq!(
            (statistics.get("drop"), statistics.get("early_drop"), statistics.get("cpu")),
            (25, 3, 0)
        );
        let later = parse_pairs("cpu=0 found=2 drop=30").unwrap();
        assert_eq!(later.since(&statistics).get("drop"), 5);
    }

    #[test]
    fn the_number_of_deleted_entries_is_found() {
        let said = "conntrack v1.4.7 (conntrack-tools): 12 flow entries have been deleted.\n";
        assert_eq!(parse_deleted(said), Some(12));
        assert_eq!(parse_deleted("conntrack: Operation failed"), None);
    }

    #[test]
    fn a_link_is_found_by_its_whole_name() {
        let text = "Inter-|   Receive\n face |bytes\n uplink2: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n\
                    uplink: 10 11 12 13 14 15 16 17 20 21 22 23 24 25 26 27\n";
        let link = parse_link(text, "uplink").unwrap();
        assert_eq!(
            (link.received, link.receive_dropped, link.transmitted, link.transmit_dropped),
            (11, 13, 21, 23)
        );
        assert_eq!(parse_link(text, "lo"), None);
    }
}
