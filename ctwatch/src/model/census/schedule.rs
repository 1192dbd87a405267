//! When the table is to be walked: on demand, and while there is pressure; otherwise never, so that looking at an
//! idle gateway costs nothing. The pause that each walk calls for is kept by whoever walks.

use std::time::Duration;

use crate::model::{moment::Moment, snapshot::KernelStatistics};

/// Under pressure there is a walk no more often.
const PRESSURE_EVERY: Duration = Duration::from_secs(10);
/// From this share of the limit on there is pressure.
const PRESSURE_FROM_UTILIZATION: f64 = 0.8;
/// If the sources that hold next to nothing have doubled since the last walk, and are so many, it may be a flood
/// that began since.
const SMALL_SOURCES_MIN: usize = 1000;

/// What the last interval showed of pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signs {
    /// Entries by limit.
    pub utilization: Option<f64>,
    /// Packets refused since the start.
    pub refused: Option<u64>,
    /// The kernel's counters since the start.
    pub kernel: KernelStatistics,
    /// Sources that hold an entry or two.
    pub small_sources: usize,
    /// Whether the last walk found a flood.
    pub flooded: bool,
}

/// Decides.
#[derive(Debug)]
pub struct Schedule {
    every: Option<Duration>,
    last_walk: Option<Moment>,
    last_signs: Signs,
    small_sources_at_walk: usize,
    is_due: bool,
}

impl Schedule {
    /// At least every so often, if that is said.
    pub fn new(every: Option<Duration>) -> Self {
        Self {
            every,
            last_walk: None,
            last_signs: Signs::default(),
            small_sources_at_walk: 0,
            is_due: false,
        }
    }

    /// A walk is over.
    pub fn walked(&mut self, at: Moment) {
        self.last_walk = Some(at);
        self.small_sources_at_walk = self.last_signs.small_sources;
        self.is_due = false;
    }

    /// Takes in an interval.
    pub fn look(&mut self, now: Moment, signs: Signs) {
        let before = std::mem::replace(&mut self.last_signs, signs);
        let Some(last_walk) = self.last_walk else { return };
        let since = now.since(last_walk);
        let asked = self.every.is_some_and(|every| since >= every);
        let pressed = self.is_pressed(&before) && since >= PRESSURE_EVERY;
        // Pressure that is seen once is not forgotten before the walk.
        self.is_due |= asked || pressed;
    }

    /// Whether the table should be walked now. Never before the first walk, which is taken anyway.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    fn is_pressed(&self, before: &Signs) -> bool {
        let now = &self.last_signs;
        let moved = |of: fn(&KernelStatistics) -> Option<u64>| of(&now.kernel) > of(&before.kernel);
        now.flooded
            || now.utilization.is_some_and(|utilization| utilization >= PRESSURE_FROM_UTILIZATION)
            || now.refused > before.refused
            || moved(|kernel| kernel.found)
            || moved(|kernel| kernel.insert_failed)
            || moved(|kernel| kernel.clash_resolve)
            || now.small_sources >= SMALL_SOURCES_MIN.max(2 * self.small_sources_at_walk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { monotonic_ns: seconds * 1_000_000_000, wall_ns: 0 }
    }

    /// The seconds at which a walk is due, each taken at once, by the signs of each second.
    fn walks(every: Option<Duration>, signs: impl Fn(u64) -> Signs) -> Vec<u64> {
        let mut schedule = Schedule::new(every);
        schedule.walked(at(0));
        let due = |now: &u64| {
            schedule.look(at(*now), signs(*now));
            let due = schedule.is_due();
            if due {
                schedule.walked(at(*now));
            }
            due
        };
        (1..=35).filter(due).collect()
    }

    #[test]
    fn an_idle_table_is_not_walked() {
        let idle = Signs { utilization: Some(0.79), small_sources: 999, ..Signs::default() };
        assert_eq!(walks(None, |_| idle), [0; 0]);
    }

    #[test]
    fn on_demand_it_is_walked_as_often_as_told() {
        assert_eq!(walks(Some(Duration::from_secs(15)), |_| Signs::default()), [15, 30]);
    }

    #[test]
    fn pressure_calls_for_a_walk_every_ten_seconds() {
        let full = Signs { utilization: Some(0.8), ..Signs::default() };
        assert_eq!(walks(None, |_| full), [10, 20, 30]);
        assert_eq!(walks(None, |_| Signs { flooded: true, ..Signs::default() }), [10, 20, 30]);
        let refusing = |now| Signs { refused: Some(now), ..Signs::default() };
        assert_eq!(walks(None, refusing), [10, 20, 30]);
        let refused_long_ago = |_| Signs { refused: Some(7), ..Signs::default() };
        assert_eq!(walks(None, refused_long_ago), [0; 0]);
    }

    #[test]
    fn counters_of_port_pressure_and_clashes_call_for_a_walk_while_they_move() {
        for of in [
            (|found| KernelStatistics { found, ..KernelStatistics::default() })
                as fn(Option<u64>) -> KernelStatistics,
            |insert_failed| KernelStatistics { insert_failed, ..KernelStatistics::default() },
            |clash_resolve| KernelStatistics { clash_resolve, ..KernelStatistics::default() },
        ] {
            let until_20 = |now: u64| Signs { kernel: of(Some(now.min(20))), ..Signs::default() };
            assert_eq!(walks(None, until_20), [10, 20]);
        }
    }

    #[test]
    fn many_new_small_sources_call_for_a_walk_each_time_they_have_doubled() {
        let growing =
            |now| Signs { small_sources: if now < 20 { 1500 } else { 2999 }, ..Signs::default() };
        assert_eq!(walks(None, growing), [10]);
        let doubled =
            |now| Signs { small_sources: if now < 20 { 1500 } else { 3000 }, ..Signs::default() };
        assert_eq!(walks(None, doubled), [10, 20]);
    }
}
