//! The last intervals as lines of blocks, each scaled to its largest value.

use ratatui::layout::Rect;

use super::Canvas;
use crate::screen::{
    history::{History, Point},
    style::{Looks, Role},
};

type Series = (&'static str, fn(&Point) -> f64, Role);

/// Entries, new and refused ones.
const SERIES: [Series; 3] = [
    ("entries", |point| point.entries, Role::Good),
    ("new/s", |point| point.new_per_s, Role::Plain),
    ("refused/s", |point| point.refused_per_s, Role::Critical),
];
const LABEL: usize = 10;
const SCALE: usize = 12;

/// Three lines: each with its name, the blocks, and the largest value.
pub(super) fn draw(history: &History, canvas: &mut Canvas<'_>, area: Rect) {
    let lines = lines(history, canvas.looks, usize::from(area.width));
    for (number, line) in (0..).zip(lines) {
        canvas.line(area, number, &line);
    }
}

fn lines(history: &History, looks: Looks, width: usize) -> Vec<Vec<(Role, String)>> {
    let count = width.saturating_sub(LABEL + SCALE);
    SERIES
        .iter()
        .map(|(name, number, role)| {
            let values = history.last(count, *number);
            let largest = values.iter().copied().fold(0.0, f64::max);
            let blocks: String = values.iter().map(|value| block(*value, largest, looks)).collect();
            vec![
                (Role::Faint, format!("{name:<LABEL$}")),
                (*role, format!("{blocks:>count$}")),
                (Role::Faint, format!(" max {largest:<7.0}")),
            ]
        })
        .collect()
}

/// A value that is not 0 is never drawn as none.
fn block(value: f64, largest: f64, looks: Looks) -> char {
    if value <= 0.0 || largest <= 0.0 {
        return looks.block(0);
    }
    looks.block(((value / largest * 8.0).round() as usize).max(1))
}
