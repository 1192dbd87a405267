//! What a table was like in the last intervals, for the lines that show it.

use std::collections::VecDeque;

use crate::model::snapshot::Snapshot;

/// Intervals that are remembered: as many as a wide screen has columns.
const POINTS_MAX: usize = 256;

/// One interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Entries held at its end.
    pub entries: f64,
    /// Entries made a second.
    pub new_per_s: f64,
    /// Packets refused a second.
    pub refused_per_s: f64,
}

/// The last intervals, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
}

impl History {
    /// Takes in the next interval.
    pub fn add(&mut self, point: Point) {
        if self.points.len() == POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// One number of the last `count` intervals, the oldest first.
    pub fn last(&self, count: usize, number: fn(&Point) -> f64) -> Vec<f64> {
        let skipped = self.points.len().saturating_sub(count);
        self.points.iter().skip(skipped).map(number).collect()
    }
}

impl Point {
    /// The table as a whole. What the mode cannot see is 0 here: the numbers beside the line say that it is not known.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self {
            entries: snapshot.table.entries as f64,
            new_per_s: snapshot.totals.new_per_s.unwrap_or(0.0),
            refused_per_s: snapshot.totals.refused_per_s.unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_bounded_and_ends_now() {
        let mut history = History::default();
        for entries in 0..1000 {
            history.add(Point { entries: entries.into(), ..Point::default() });
        }
        assert_eq!(history.last(3, |point| point.entries), [997.0, 998.0, 999.0]);
        assert_eq!(history.last(usize::MAX, |point| point.entries).len(), POINTS_MAX);
    }
}
