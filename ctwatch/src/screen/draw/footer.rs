//! The last line: what is typed, what is to be said, or the keys that matter here.

use ratatui::layout::Rect;

use super::Canvas;
use crate::screen::{
    deed::{Deed, Stage},
    rows::RollUp,
    state::{Overlay, State},
    style::Role,
    tab::Tab,
};

/// Draws it.
pub(super) fn draw(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    if let Overlay::Filter { text, why_not } = &state.overlay {
        let words = match why_not {
            Some(why) => [(Role::Warning, why.clone()), (Role::Plain, String::new())],
            None => [
                (Role::Heading, "filter: ".to_owned()),
                // The end is what is being typed.
                (Role::Plain, format!("{}_", end_of(text, usize::from(area.width)))),
            ],
        };
        return canvas.line(area, 0, &words);
    }
    if state.overlay == Overlay::Number {
        return canvas.line(
            area,
            0,
            &[(Role::Heading, "number of the advice to apply: _".to_owned())],
        );
    }
    if let Some(message) = &state.message {
        return canvas.line(area, 0, &[(Role::Warning, message.clone())]);
    }
    canvas.line(area, 0, &[(Role::Faint, keys(state).to_owned())]);
}

fn end_of(text: &str, width: usize) -> &str {
    const LABEL: usize = 9;
    let room = width.saturating_sub(LABEL).max(1);
    let skipped = text.chars().count().saturating_sub(room);
    text.char_indices().nth(skipped).map_or("", |(at, _)| text.get(at..).unwrap_or_default())
}

fn keys(state: &State) -> &'static str {
    match (&state.overlay, state.tab) {
        (Overlay::Deed(_, Stage::Asked), _) => "y run it  Esc leave it  q quit",
        (Overlay::Deed(_, Stage::Running), _) => "it runs; Esc goes back and lets it run",
        (Overlay::Deed(deed, Stage::Ended(Ok(_))), _) if deed.is_harmless() => {
            "y carry it out  Esc leave it  jk scroll  q quit"
        }
        (Overlay::Deed(Deed::Apply(_), Stage::Ended(Ok(_))), _) => {
            "c confirm  U undo  Esc back  jk scroll"
        }
        (Overlay::Help | Overlay::Deed(..), _) => "Esc back  jk scroll  q quit",
        (_, Tab::Sources) if state.source.is_some() => "Esc back  jk scroll  b block it  q quit",
        (_, Tab::Sources) if state.arrangement.roll_up != RollUp::None => {
            "? help  q quit  Enter look inside  x roll up  s sort  f filter"
        }
        (_, Tab::Sources) => {
            "? help  q quit  Enter look at it  b block it  s sort  f filter  x roll up"
        }
        (_, Tab::Namespaces) => "? help  q quit  Enter show it  Tab next",
        (_, Tab::Advice) => "? help  q quit  jk scroll  a apply  c confirm  U undo  r anew",
        (_, Tab::Blocks) => "? help  q quit  u let it in again  r anew  Tab next",
        _ => "? help  q quit  jk scroll  Tab next",
    }
}
