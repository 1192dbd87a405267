//! Reading how much was executed so far. Under `-icount shift=0` the machine's clock advances one nanosecond an
//! instruction, so the kernel's own accounts of time are counts of instructions; it must not run under another clock.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::wait;

/// What was executed between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Instructions {
    /// By every task, and by the interrupts that came while one ran.
    pub(super) all: u64,
    /// Of these, by the agent's processes, and by the kernel on their behalf.
    pub(super) process: u64,
    /// Of these, by the kernel's own workers: once a minute one of them walks through the whole table
    /// (net/netfilter/nf_conntrack_core.c, `gc_worker`), which falls into some measurements and not into others.
    pub(super) workers: u64,
}

impl Instructions {
    fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all.saturating_sub(earlier.all),
            process: self.process.saturating_sub(earlier.process),
            workers: self.workers.saturating_sub(earlier.workers),
        }
    }
}

/// Does `work` and goes on until `window` is over, so that whatever happens once a second happens equally often in
/// every measurement; returns what was executed meanwhile.
///
/// # Errors
/// When `work` fails or takes longer than `window`.
pub(super) fn measure(
    window: Duration,
    group: Option<&Group>,
    work: impl FnOnce() -> Result<()>,
) -> Result<Instructions> {
    // What this costs must not be measured: the kernel charges a task when it stops running
    // (kernel/sched/stats.h, `sched_info_depart`), so this one stops after it.
    let workers = workers()?;
    wait::pause(SETTLE);
    if let Some(group) = group {
        group.wait_for_pause()?;
    }
    let begin = Instant::now();
    let before = Instructions { all: everything()?, process: of_group(group)?, workers };
    work()?;
    let left = (begin + window)
        .checked_duration_since(Instant::now())
        .with_context(|| format!("the work took longer than {} s", window.as_secs_f64()))?;
    wait::pause(left);
    let (all, process) = (everything()?, of_group(group)?);
    Ok(Instructions { all, process, workers: self::workers()? }.since(before))
}

/// A process that does nothing for so long has done what it does.
const PAUSE: Duration = Duration::from_millis(50);
/// Some processes always do something.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Long enough for a task to be set aside and scheduled again.
const SETTLE: Duration = Duration::from_millis(10);

fn of_group(group: Option<&Group>) -> Result<u64> {
    Ok(group.map(Group::instructions).transpose()?.unwrap_or(0))
}

fn everything() -> Result<u64> {
    let path = "/proc/schedstat";
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {path} (CONFIG_SCHEDSTATS)"))?;
    parse_schedstat(&text)
        .with_context(|| format!("{path} has another form than expected:\n{text}"))
}

/// By the kernel's workers: the first number of `/proc/PID/schedstat` is what a task has executed.
fn workers() -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let path = entry.path();
        let is_worker = std::fs::read_to_string(path.join("comm"))
            .is_ok_and(|name| name.starts_with("kworker/"));
        if is_worker {
            // A worker may have ended since.
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            sum += text.split_whitespace().next().map_or(Ok(0), number)?;
        }
    }
    Ok(sum)
}

/// The seventh number of each CPU's line, `rq_cpu_time`: nanoseconds that tasks ran on it
/// (Documentation/scheduler/sched-stats.rst).
fn parse_schedstat(text: &str) -> Option<u64> {
    let of_cpus = text.lines().filter(|line| line.starts_with("cpu"));
    let times: Option<Vec<u64>> =
        of_cpus.map(|line| line.split_whitespace().nth(7)?.parse().ok()).collect();
    times.filter(|times| !times.is_empty()).map(|times| times.iter().sum())
}

/// A control group, which has the account of all processes that are or were in it.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
}

/// Where the kernel's control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

impl Group {
    /// Makes a new one.
    ///
    /// # Errors
    /// When control groups are not mounted.
    pub(super) fn create(name: &str) -> Result<Self> {
        let path = Path::new(GROUPS).join(name);
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot make the control group {}", path.display()))?;
        Ok(Self { path })
    }

    /// Writing a process's id or 0 for the writer's own to this file moves it into the group.
    pub(super) fn processes(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// What its processes have executed so far: `usage_usec` of `cpu.stat`, which is exact to a microsecond
    /// (kernel/cgroup/rstat.c, `cgroup_base_stat_cputime_show`).
    ///
    /// # Errors
    /// When the kernel has no such account.
    pub(super) fn instructions(&self) -> Result<u64> {
        let path = self.path.join("cpu.stat");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        let usage = usage.with_context(|| format!("{} has no usage_usec", path.display()))?;
        Ok(number(usage)? * 1_000)
    }

    /// Waits until its processes have just done what they do once a second, if they do: a window of whole seconds then
    /// has neither end in the middle of it.
    fn wait_for_pause(&self) -> Result<()> {
        let begin = Instant::now();
        let mut before = self.instructions()?;
        while begin.elapsed() < LONGEST_WAIT {
            wait::pause(PAUSE);
            let now = self.instructions()?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Ends whatever still runs in it, and removes it.
    ///
    /// # Errors
    /// When it is not empty after a while.
    pub(super) fn remove(self) -> Result<()> {
        // Kernels before 5.14 have no such file; what they run has been asked to end already.
        let _old_kernel = std::fs::write(self.path.join("cgroup.kill"), "1");
        wait::until(
            wait::PATIENCE,
            "the end of the agent's processes",
            || match std::fs::remove_dir(&self.path) {
                Ok(()) => Ok(Some(())),
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(None),
                Err(error) => bail!("cannot remove {}: {error}", self.path.display()),
            },
        )
    }
}

fn number(text: &str) -> Result<u64> {
    text.trim().parse().with_context(|| format!("no number: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_tasks_is_summed_over_cpus() {
        let text = "version 16\ntimestamp 4294972\ncpu0 0 0 0 0 0 0 1234 5 6\n\
                    domain0 03 0 0 0 0 0 0 0 0\ncpu1 1 0 2 3 4 5 766 7 8\n";
        assert_eq!(parse_schedstat(text), Some(2000));
        assert_eq!(parse_schedstat("version 16\n"), None);
        assert_eq!(parse_schedstat("cpu0 0 0 0\n"), None);
    }

    #[test]
    fn what_was_before_does_not_count() {
        let before = Instructions { all: 5, process: 2, workers: 1 };
        let after = Instructions { all: 12, process: 2, workers: 4 };
        assert_eq!(after.since(before), Instructions { all: 7, process: 0, workers: 3 });
    }
}
