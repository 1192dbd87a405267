//! The tables that are looked at, one a line.

use ratatui::layout::Rect;

use super::Canvas;
use crate::screen::{
    columns::rate,
    state::{State, Watched},
    style::Role,
};

/// Draws the visible ones.
pub(super) fn draw(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    let name_width = usize::from(area.width).saturating_sub(64).clamp(14, 40);
    let heading = format!(
        "{:<name_width$} {:>8} {:>9} {:>5} {:>8} {:>9} {:>7} {:>11}",
        "NAMESPACE", "ENTRIES", "LIMIT", "FULL", "NEW/S", "REFUSED/S", "SOURCES", "NUMBER"
    );
    canvas.bar(area, 0, Role::Bar, &heading);
    let cursor = state.namespaces;
    let height = usize::from(area.height).saturating_sub(1);
    let visible = (cursor.top..).zip(state.watched.iter().skip(cursor.top)).take(height);
    for (number, (at, watched)) in (1..).zip(visible) {
        let text = line(watched, name_width);
        if at == cursor.at {
            canvas.bar(area, number, Role::Chosen, &text);
        } else {
            canvas.line(area, number, &[(Role::Plain, text)]);
        }
    }
    if state.watched.len() == 1 {
        let hint = "the only one that is looked at; all of them: ctwatch top --netns all";
        canvas.line(area, 3, &[(Role::Faint, hint.to_owned())]);
    }
}

fn line(watched: &Watched, name_width: usize) -> String {
    let snapshot = &watched.shown;
    let table = &snapshot.table;
    let name: String =
        snapshot.netns_name.as_deref().unwrap_or("?").chars().take(name_width).collect();
    let limit = table.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    let full = table.utilization.map_or_else(|| "-".to_owned(), |u| format!("{:.0} %", u * 100.0));
    format!(
        "{name:<name_width$} {:>8} {limit:>9} {full:>5} {:>8} {:>9} {:>7} {:>11}",
        table.entries,
        rate(snapshot.totals.new_per_s),
        rate(snapshot.totals.refused_per_s),
        snapshot.sources.len(),
        snapshot.netns
    )
}
