//! The table of sources.

use ratatui::layout::Rect;

use super::Canvas;
use crate::screen::{
    columns::{COLUMNS, Column, fitting},
    rows::{RollUp, Row},
    state::State,
    style::Role,
};

/// The column that tells protocols, or how many sources are added up.
const OF: usize = 1;

/// Draws the visible rows; the others are not looked at.
pub(super) fn draw(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    let Some(snapshot) = state.snapshot() else { return };
    let height = usize::from(area.height).saturating_sub(1);
    let top = state.sources.top;
    let visible: Vec<Row> =
        (top..top.saturating_add(height)).map_while(|at| state.rows.at(snapshot, at)).collect();
    let names = COLUMNS.first().map(|column| column.text);
    let name_width = visible
        .iter()
        .filter_map(|row| names.map(|name| name(row, &snapshot.table).chars().count()))
        .max()
        .unwrap_or(0);
    let name_width = u16::try_from(name_width).unwrap_or(u16::MAX);
    let sorted_by = state.arrangement.sorted_by;
    let (shown, first_width) = fitting(area.width, name_width, sorted_by);
    let mark = canvas.looks.sort_mark(state.arrangement.order);
    let heading = line(&shown, first_width, |number, column| {
        let title = match (number, state.arrangement.roll_up) {
            (OF, RollUp::Address | RollUp::Network | RollUp::Site) => "OF",
            _ => column.title,
        };
        if number == sorted_by { format!("{title}{mark}") } else { title.to_owned() }
    });
    canvas.bar(area, 0, Role::Bar, &heading);
    for (number, row) in (1..).zip(&visible) {
        let text = line(&shown, first_width, |_, column| (column.text)(row, &snapshot.table));
        let is_chosen = top + usize::from(number) == state.sources.at + 1;
        if is_chosen {
            canvas.bar(area, number, Role::Chosen, &text);
        } else {
            let refused = row.numbers.refused_per_s.is_some_and(|refused| refused > 0.0);
            let role = if refused { Role::Warning } else { Role::Plain };
            canvas.line(area, number, &[(role, text)]);
        }
    }
    if visible.is_empty() {
        let is_flooded = snapshot.floods.as_ref().is_some_and(|floods| !floods.is_empty());
        let why = match (snapshot.sources.is_empty(), is_flooded) {
            (true, true) => "no source stands out: all that is held is in the floods above",
            (true, false) => "no source holds anything",
            (false, _) => "no source matches the filter; Esc takes it away",
        };
        canvas.line(area, 1, &[(Role::Plain, why.to_owned())]);
    }
}

/// The first two columns stand to the left, numbers to the right.
fn line(shown: &[usize], first_width: u16, text: impl Fn(usize, &Column) -> String) -> String {
    let mut line = String::new();
    for number in shown {
        let Some(column) = COLUMNS.get(*number) else { continue };
        let text = text(*number, column);
        let width = usize::from(if *number == 0 { first_width } else { column.width });
        let text = if text.chars().count() > width && *number == 0 {
            let kept: String = text.chars().take(width.saturating_sub(1)).collect();
            kept + "~"
        } else {
            text
        };
        if *number > 0 {
            line.push(' ');
        }
        line += &match number {
            0 | 1 => format!("{text:<width$}"),
            _ => format!("{text:>width$}"),
        };
    }
    line
}
