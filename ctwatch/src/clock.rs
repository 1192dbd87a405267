//! The only place that reads a clock.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::model::moment::Moment;

/// Now, on both clocks.
pub fn now() -> Moment {
    let monotonic_ns = u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or(0);
    Moment { monotonic_ns, wall_ns: nanoseconds(clock_gettime(ClockId::Realtime)) }
}

/// Now, in nanoseconds of `CLOCK_BOOTTIME`: it counts while the machine sleeps, and nobody sets it.
pub fn boottime_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

/// How long the processors have worked for this process, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::ProcessCPUTime))).unwrap_or(0)
}

/// Now, in milliseconds since 1970.
pub fn wall_ms() -> i64 {
    i64::try_from(now().wall_ns / 1_000_000).unwrap_or(0)
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
