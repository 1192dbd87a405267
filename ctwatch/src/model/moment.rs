//! A point in time, handed in by whoever has a clock.

use std::time::Duration;

/// One instant on both clocks that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds of `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    pub wall_ns: i128,
}

impl Moment {
    /// The time from `earlier` to this moment; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.monotonic_ns.saturating_sub(earlier.monotonic_ns))
    }

    /// The wall-clock time of an instant on the monotonic clock, in nanoseconds since 1970.
    pub fn wall_of(self, monotonic_ns: u64) -> i128 {
        self.wall_ns - (i128::from(self.monotonic_ns) - i128::from(monotonic_ns))
    }
}
