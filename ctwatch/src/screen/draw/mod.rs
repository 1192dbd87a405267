//! From a state to a picture: a pure function, one file a tab.

mod advice;
mod blocks;
mod deed;
mod events;
mod footer;
mod health;
mod help;
mod history;
mod namespaces;
pub mod page;
mod source;
mod sources;
mod top;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Widget as _,
};

use super::{
    state::{Overlay, State},
    style::{Looks, Role},
    tab::Tab,
};
use crate::{model::snapshot::Snapshot, output::text::notable};
use page::PageLine;

/// Draws everything. A buffer of any size will do.
pub fn draw(state: &State, looks: Looks, buffer: &mut Buffer) {
    let layout = state.layout();
    let canvas = &mut Canvas { buffer, looks };
    top::heading(state, canvas, layout.heading);
    if let Some(watched) = state.shown() {
        top::gauge(&watched.shown, canvas, layout.gauge);
        top::rates(&watched.shown, canvas, layout.rates);
        // A source that is looked at closely has its own history there.
        let source = state.source.as_ref().filter(|_| state.tab == Tab::Sources);
        let shown = source.map_or(&watched.history, |source| &source.history);
        history::draw(shown, canvas, layout.history);
        for (number, line) in (0..).zip(notable_lines(&watched.shown)) {
            canvas.line(layout.notable, number, &[(Role::Warning, line)]);
        }
    }
    top::tabs(state, canvas, layout.tabs);
    match page(state) {
        Some(page) => canvas.page(layout.body, &page, state.scroll),
        None if state.tab == Tab::Namespaces => namespaces::draw(state, canvas, layout.body),
        None if state.tab == Tab::Blocks => blocks::draw(state, canvas, layout.body),
        None => sources::draw(state, canvas, layout.body),
    }
    footer::draw(state, canvas, layout.footer);
}

/// The lines in the body, where it is text that can be scrolled.
pub fn page(state: &State) -> Option<Vec<PageLine>> {
    let width = usize::from(state.area.width);
    match &state.overlay {
        Overlay::Help => return Some(help::page(width)),
        Overlay::Deed(deed, stage) => return Some(deed::page(deed, stage, width)),
        Overlay::None | Overlay::Number | Overlay::Filter { .. } => {}
    }
    match (state.tab, &state.source) {
        (Tab::Sources, Some(source)) => Some(source::page(state, source, width)),
        (Tab::Sources | Tab::Namespaces | Tab::Blocks, _) => None,
        (Tab::Events, _) => Some(events::page(state, width)),
        (Tab::Advice, _) => Some(advice::page(state, width)),
        (Tab::Health, _) => Some(health::page(state, width)),
    }
}

/// What is wrong, worst first: floods, prefixes, ports.
pub fn notable_lines(snapshot: &Snapshot) -> Vec<String> {
    notable::lines(snapshot).lines().map(str::to_owned).collect()
}

/// Where to draw, and how things look there.
pub struct Canvas<'a> {
    buffer: &'a mut Buffer,
    looks: Looks,
}

impl Canvas<'_> {
    /// Writes a line of an area; what does not fit is cut off.
    fn line(&mut self, area: Rect, number: u16, words: &[(Role, String)]) {
        let spans: Vec<Span<'_>> = words
            .iter()
            .map(|(role, text)| Span::styled(text.as_str(), self.looks.style(*role)))
            .collect();
        self.styled(area, number, Line::from(spans), Style::new());
    }

    /// A line all of which, to the end of the area, looks the same.
    fn bar(&mut self, area: Rect, number: u16, role: Role, text: &str) {
        let style = self.looks.style(role);
        let text = format!("{text:<width$}", width = usize::from(area.width));
        self.styled(area, number, Line::from(text), style);
    }

    fn styled(&mut self, area: Rect, number: u16, line: Line<'_>, style: Style) {
        if number < area.height {
            let area = Rect { y: area.y + number, height: 1, ..area };
            line.style(style).render(area.intersection(self.buffer.area), self.buffer);
        }
    }

    fn page(&mut self, area: Rect, page: &[PageLine], scroll: usize) {
        for (number, line) in (0..area.height).zip(page.iter().skip(scroll)) {
            self.line(area, number, &line.0);
        }
    }
}

#[cfg(test)]
mod tests;
