//! What happened to single packets, the latest first.

use super::page::PageLine;
use crate::{
    model::event::Event,
    output::text,
    screen::{
        state::{Motion, State},
        style::Role,
    },
};

/// Events of the namespace that is shown, and of the sources that are.
pub(super) fn page(state: &State) -> Vec<PageLine> {
    let filter = &state.arrangement.filter;
    let is_shown = |event: &&Event| {
        state.netns == Some(event.netns) && (filter.is_empty() || filter.matches(&event.source))
    };
    let mut page: Vec<PageLine> = state
        .events
        .iter()
        .rev()
        .filter(is_shown)
        .map(|event| PageLine::plain(line(event)))
        .collect();
    if state.motion == Motion::Paused && !state.events_waiting.is_empty() {
        let waiting = format!("{} more since it was paused", state.events_waiting.len());
        page.insert(0, PageLine::new(Role::Warning, waiting));
    }
    if page.is_empty() {
        page.push(PageLine::plain(nothing(state)));
    }
    page
}

/// An event on one line, without the day.
pub(super) fn line(event: &Event) -> String {
    let line = text::event(event);
    let line = line.trim_end();
    line.split_once('T').map_or(line, |(_, from_hour)| from_hour).to_owned()
}

fn nothing(state: &State) -> &'static str {
    match state.snapshot() {
        Some(snapshot) if !snapshot.mode.sees_refusals() => {
            "without a hook on early_drop refusals cannot be seen; see 6 Health"
        }
        _ => "no packet has been refused",
    }
}
