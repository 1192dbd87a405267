//! The only place that reads a clock.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::model::moment::Moment;

/// Now, on both clocks.
pub fn now() -> Moment {
    let monotonic_ns = u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or(0);
    Moment { monotonic_ns, wall_ns: nanoseconds(clock_gettime(ClockId::Realtime)) }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
