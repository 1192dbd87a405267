//! What keys do.

use std::time::Duration;

use super::{Motion, Overlay, State};
use crate::screen::{
    columns::COLUMNS,
    cursor::{Cursor, Move},
    filter::Filter,
    input::{Effect, Key},
    keys::{self, Action},
    rows::{Arrangement, RollUp},
    source_view::SourceView,
    tab::Tab,
};

/// Times between two updates that `+` and `-` go through, in milliseconds.
const PACES_MS: [u64; 9] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
/// Characters of a filter.
const FILTER_MAX: usize = 200;

impl State {
    pub(super) fn key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.message = None;
        if matches!(self.overlay, Overlay::Filter { .. })
            && !matches!(key, Key::Control('c' | 'z' | 'l'))
        {
            self.type_filter(key);
            return;
        }
        if self.overlay == Overlay::Number && !matches!(key, Key::Control('c' | 'z' | 'l')) {
            self.take_number(key, effects);
            return;
        }
        if let Some(action) = keys::action(key) {
            self.act(action, effects);
        }
    }

    fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        let page = usize::from(self.layout().body.height).saturating_sub(2).max(1);
        match action {
            Action::Quit => effects.push(Effect::Quit),
            Action::Suspend => effects.push(Effect::Suspend),
            Action::Repaint => effects.push(Effect::Repaint),
            Action::Help if self.overlay == Overlay::Help => self.close(),
            Action::Help => self.lay(Overlay::Help),
            Action::Back => self.back(),
            Action::Go(way) => self.go(way),
            Action::PageUp => self.go(Move::Up(page)),
            Action::PageDown => self.go(Move::Down(page)),
            Action::Into => self.into(),
            Action::Open(tab) => self.open(tab),
            Action::NextTab => self.open(self.tab.further(1)),
            Action::PreviousTab => self.open(self.tab.previous()),
            Action::Filter => {
                self.lay(Overlay::Filter { text: self.filter_text.clone(), why_not: None })
            }
            Action::SortRight => self.sort_by((self.arrangement.sorted_by + 1) % COLUMNS.len()),
            Action::SortLeft => {
                self.sort_by((self.arrangement.sorted_by + COLUMNS.len() - 1) % COLUMNS.len());
            }
            Action::Reverse => {
                self.arrangement.order = self.arrangement.order.reversed();
                self.rearrange();
            }
            Action::RollUp => {
                self.arrangement.roll_up = self.arrangement.roll_up.next();
                self.rearrange();
            }
            Action::Pause => match self.motion {
                Motion::Running => self.motion = Motion::Paused,
                Motion::Paused => {
                    self.motion = Motion::Running;
                    self.go_on();
                }
            },
            Action::Slower => {
                let slower = PACES_MS.iter().map(|ms| Duration::from_millis(*ms));
                self.pace(slower.into_iter().find(|pace| *pace > self.interval), effects);
            }
            Action::Faster => {
                let faster = PACES_MS.iter().rev().map(|ms| Duration::from_millis(*ms));
                self.pace(faster.into_iter().find(|pace| *pace < self.interval), effects);
            }
            Action::Again => {
                self.advised.is_outdated();
                self.blocked.is_outdated();
            }
            Action::Block
            | Action::Unblock
            | Action::Apply
            | Action::Confirm
            | Action::RollBack => self.want(action, effects),
            Action::Yes => self.yes(effects),
        }
    }

    fn pace(&mut self, pace: Option<Duration>, effects: &mut Vec<Effect>) {
        if let Some(pace) = pace {
            self.interval = pace;
            effects.push(Effect::Pace(pace));
        }
    }

    pub(super) fn lay(&mut self, overlay: Overlay) {
        self.scroll = 0;
        self.overlay = overlay;
    }

    pub(super) fn close(&mut self) {
        self.lay(Overlay::None);
    }

    pub(super) fn open(&mut self, tab: Tab) {
        self.close();
        self.tab = tab;
    }

    fn back(&mut self) {
        if self.overlay != Overlay::None {
            self.close();
        } else if self.source.take().is_some() {
            self.scroll = 0;
        } else if self.tab != Tab::Sources {
            self.open(Tab::Sources);
        } else if !self.filter_text.is_empty() {
            self.filter(Filter::default(), String::new());
        }
    }

    fn into(&mut self) {
        match (&self.overlay, self.tab) {
            (Overlay::None, Tab::Sources) if self.source.is_none() => self.open_source(),
            (Overlay::None, Tab::Namespaces) => {
                if let Some(watched) = self.watched.get(self.namespaces.at) {
                    let netns = watched.shown.netns;
                    self.show(Some(netns));
                    self.open(Tab::Sources);
                }
            }
            _ => {}
        }
    }

    /// Opens an address, or what is inside a prefix that was added up.
    fn open_source(&mut self) {
        let Some(snapshot) = self.snapshot().cloned() else { return };
        let Some(network) = self.rows.at(&snapshot, self.sources.at).and_then(|row| row.network())
        else {
            return;
        };
        match self.arrangement.roll_up {
            roll_up @ (RollUp::Network | RollUp::Site) => {
                self.arrangement.roll_up = roll_up.narrower();
                let text = network.to_string();
                if let Ok(filter) = text.parse() {
                    self.filter(filter, text);
                }
            }
            RollUp::None | RollUp::Address => {
                self.scroll = 0;
                self.source = Some(SourceView::open(network, Some(&snapshot)));
            }
        }
    }

    fn sort_by(&mut self, column: usize) {
        if let Some(order) = COLUMNS.get(column).map(|column| column.order) {
            self.arrangement = Arrangement { sorted_by: column, order, ..self.arrangement.clone() };
            self.rearrange();
        }
    }

    /// Another order was asked for: it is looked at from its beginning.
    fn rearrange(&mut self) {
        self.chosen = None;
        self.sources = Cursor::default();
        self.arrange();
    }

    fn filter(&mut self, filter: Filter, text: String) {
        self.arrangement.filter = filter;
        self.filter_text = text;
        self.rearrange();
    }

    fn type_filter(&mut self, key: Key) {
        let Overlay::Filter { text, why_not } = &mut self.overlay else { return };
        *why_not = None;
        match key {
            Key::Character(character) if text.len() < FILTER_MAX => text.push(character),
            Key::Backspace => drop(text.pop()),
            Key::Control('u') => text.clear(),
            Key::Escape => self.close(),
            Key::Enter => match text.parse() {
                Ok(filter) => {
                    let text = text.trim().to_owned();
                    self.close();
                    self.filter(filter, text);
                }
                Err(why) => *why_not = Some(why),
            },
            _ => {}
        }
    }
}
