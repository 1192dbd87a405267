//! What happened to single packets, entries and sources, the latest first.

use super::page::{PageLine, sentence};
use crate::{
    model::event::Event,
    output::event_line::{self, Colours},
    screen::{
        state::{Motion, State},
        style::Role,
    },
};

/// What happened stands behind the time.
const INDENT: usize = 15;

/// Events of the namespace that is shown, and of the sources that are.
pub(super) fn page(state: &State, width: usize) -> Vec<PageLine> {
    let filter = &state.arrangement.filter;
    let is_shown = |event: &&Event| {
        state.netns == Some(event.netns) && (filter.is_empty() || filter.matches(&event.source))
    };
    let mut page: Vec<PageLine> =
        state.events.iter().rev().filter(is_shown).flat_map(|event| lines(event, width)).collect();
    if state.motion == Motion::Paused && !state.events_waiting.is_empty() {
        let waiting = format!("{} more since it was paused", state.events_waiting.len());
        page.insert(0, PageLine::new(Role::Warning, waiting));
    }
    if page.is_empty() {
        page.push(PageLine::plain(nothing(state)));
    }
    page
}

/// An event without the day, on as many lines as it needs behind its time.
pub(super) fn lines(event: &Event, width: usize) -> Vec<PageLine> {
    let line = event_line::text(event, Colours::None);
    let line = line.split_once('T').map_or(line.as_str(), |(_, from_hour)| from_hour);
    let (time, what) = line.split_once(' ').unwrap_or((line, ""));
    sentence(width, Role::Plain, time, INDENT, what.trim())
}

fn nothing(state: &State) -> &'static str {
    match state.snapshot() {
        Some(snapshot) if !snapshot.mode.sees_refusals() => {
            "without a hook on early_drop refusals cannot be seen; see 6 Health"
        }
        _ => "no packet was refused, no entry thrown out, nobody blocked",
    }
}
