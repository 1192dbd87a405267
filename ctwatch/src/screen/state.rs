//! All that the screen knows, and how it changes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ctwatch_common::source::SourceKey;
use ratatui::layout::Rect;

use super::{
    cursor::{Cursor, Move},
    deed::{Deed, Stage},
    draw,
    found::Found,
    history::{History, Point},
    input::{Cost, Effect, Input},
    layout::{Layout, layout},
    rows::{Arrangement, Rows},
    source_view::SourceView,
    tab::Tab,
};
use crate::{
    advise::Diagnosis,
    model::{event::Event, snapshot::Snapshot},
    output::blocks::Report,
};

mod control;
mod deeds;

/// Events that are kept.
const EVENTS_MAX: usize = 1000;
/// Seconds after which advice is found anew, while it is looked at.
const ADVICE_FRESH_S: u32 = 30;
/// Seconds after which blocks are listed anew, while they are looked at.
const BLOCKS_FRESH_S: u32 = 5;

/// A namespace that is looked at.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The snapshot that is shown: the last one, unless the picture stands still.
    pub shown: Arc<Snapshot>,
    /// The last one.
    pub last: Arc<Snapshot>,
    /// The intervals until then.
    pub history: History,
}

/// What lies over the tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// The keys.
    Help,
    /// A filter is typed.
    Filter {
        /// What has been typed.
        text: String,
        /// Why it is not taken, if it was offered.
        why_not: Option<String>,
    },
    /// The number of an advice is asked for.
    Number,
    /// A command that changes something.
    Deed(Deed, Stage),
}

/// Whether the picture stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Motion {
    /// It goes on.
    #[default]
    Running,
    /// It stands still; what comes is kept.
    Paused,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct State {
    /// The screen.
    pub area: Rect,
    /// The tab that is open.
    pub tab: Tab,
    /// What lies over it.
    pub overlay: Overlay,
    /// Whether the picture stands still.
    pub motion: Motion,
    /// Time between two updates.
    pub interval: Duration,
    /// The namespaces, by number.
    pub watched: Vec<Watched>,
    /// Number of the one that is shown.
    pub netns: Option<u32>,
    /// How its sources are shown.
    pub arrangement: Arrangement,
    /// What is typed for that filter.
    pub filter_text: String,
    /// Its sources, so shown.
    pub rows: Rows,
    /// Where one is among them.
    pub sources: Cursor,
    /// Where one is among the namespaces.
    pub namespaces: Cursor,
    /// Lines that a page is scrolled down.
    pub scroll: usize,
    /// The last events of all namespaces, the oldest first.
    pub events: VecDeque<Event>,
    /// Those that came while the picture stands still.
    pub events_waiting: VecDeque<Event>,
    /// Advice on the namespace that is shown.
    pub advised: Found<Diagnosis>,
    /// Who is kept out of it.
    pub blocked: Found<Report>,
    /// Where one is among those.
    pub blocks: Cursor,
    /// The source that is looked at closely.
    pub source: Option<SourceView>,
    /// What is to be said.
    pub message: Option<String>,
    /// Seconds since the last interval.
    pub silent_s: u32,
    /// What this program costs.
    pub cost: Cost,
    chosen: Option<SourceKey>,
}

impl State {
    /// Before anything is known.
    pub fn new(columns: u16, lines: u16, interval: Duration) -> Self {
        Self {
            area: Rect::new(0, 0, columns, lines),
            tab: Tab::default(),
            overlay: Overlay::default(),
            motion: Motion::default(),
            interval,
            watched: Vec::new(),
            netns: None,
            arrangement: Arrangement::default(),
            filter_text: String::new(),
            rows: Rows::default(),
            sources: Cursor::default(),
            namespaces: Cursor::default(),
            scroll: 0,
            events: VecDeque::new(),
            events_waiting: VecDeque::new(),
            advised: Found::default(),
            blocked: Found::default(),
            blocks: Cursor::default(),
            source: None,
            message: None,
            silent_s: 0,
            cost: Cost::default(),
            chosen: None,
        }
    }

    /// Something has happened.
    pub fn take(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Key(key) => self.key(key, &mut effects),
            Input::Interval(snapshots) => self.interval(snapshots),
            Input::Resize(columns, lines) => {
                self.area = Rect::new(0, 0, columns, lines);
                effects.push(Effect::Repaint);
            }
            Input::Tick => self.tick(),
            Input::Diagnosed(netns, found) if self.netns == Some(netns) => {
                self.advised.take(found);
            }
            Input::Blocks(netns, found) if self.netns == Some(netns) => self.blocked.take(found),
            Input::Done(deed, said) => self.done(deed, said),
            Input::Walked(request, walked) => {
                if let Some(source) =
                    self.source.as_mut().filter(|source| source.network == request.network)
                {
                    source.walked(walked);
                }
            }
            Input::Said(said) => self.message = Some(said),
            Input::Cost(cost) => self.cost = cost,
            // Of a namespace that is not shown any more.
            Input::Diagnosed(..) | Input::Blocks(..) => {}
        }
        self.ask(&mut effects);
        self.settle();
        effects
    }

    /// The namespace that is shown.
    pub fn shown(&self) -> Option<&Watched> {
        let netns = self.netns?;
        self.watched.iter().find(|watched| watched.shown.netns == netns)
    }

    /// Its snapshot.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.shown().map(|watched| &watched.shown)
    }

    /// Where everything is.
    pub fn layout(&self) -> Layout {
        let notable = self.snapshot().map_or(0, |snapshot| draw::notable_lines(snapshot).len());
        layout(self.area, u16::try_from(notable).unwrap_or(u16::MAX))
    }

    fn interval(&mut self, snapshots: Vec<Arc<Snapshot>>) {
        self.silent_s = 0;
        let mut before: HashMap<u32, Watched> =
            self.watched.drain(..).map(|watched| (watched.last.netns, watched)).collect();
        for last in snapshots {
            self.events_waiting.extend(last.events.iter().cloned());
            let known = before.remove(&last.netns);
            let (shown, mut history) = match (known, self.motion) {
                (Some(known), Motion::Paused) => (known.shown, known.history),
                (Some(known), Motion::Running) => (Arc::clone(&last), known.history),
                (None, _) => (Arc::clone(&last), History::default()),
            };
            history.add(Point::of(&last));
            self.watched.push(Watched { shown, last, history });
        }
        self.watched.sort_by_key(|watched| watched.shown.netns);
        let extra = self.events_waiting.len().saturating_sub(EVENTS_MAX);
        self.events_waiting.drain(..extra);
        if self.shown().is_none() {
            self.show(self.fullest());
        }
        if self.motion == Motion::Running {
            self.go_on();
        }
    }

    /// Shows what has come last.
    fn go_on(&mut self) {
        for watched in &mut self.watched {
            watched.shown = Arc::clone(&watched.last);
        }
        self.events.append(&mut self.events_waiting);
        let extra = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..extra);
        self.arrange();
        let snapshot = self.snapshot().cloned();
        if let (Some(source), Some(snapshot)) = (&mut self.source, snapshot) {
            source.take(&snapshot);
        }
    }

    /// The namespace whose table is fullest.
    fn fullest(&self) -> Option<u32> {
        let fill = |watched: &&Watched| {
            let table = &watched.last.table;
            (table.utilization.map_or(0, |share| (share * 1e6) as u64), table.entries)
        };
        self.watched.iter().max_by_key(fill).map(|watched| watched.last.netns)
    }

    fn show(&mut self, netns: Option<u32>) {
        if self.netns != netns {
            self.netns = netns;
            self.advised = Found::default();
            self.blocked = Found::default();
            self.blocks = Cursor::default();
            self.source = None;
            self.sources = Cursor::default();
            self.chosen = None;
        }
        self.arrange();
    }

    /// Makes the rows anew. The chosen source stays chosen, wherever it is now.
    fn arrange(&mut self) {
        let Some(snapshot) = self.snapshot().cloned() else {
            self.rows = Rows::default();
            return;
        };
        self.rows = Rows::of(&snapshot, &self.arrangement);
        if let Some(at) = self.chosen.and_then(|key| self.rows.position(&snapshot, &key)) {
            // It moves with its source, and so does what is around it.
            self.sources.top = (self.sources.top + at).saturating_sub(self.sources.at);
            self.sources.at = at;
        }
    }

    fn tick(&mut self) {
        self.silent_s = self.silent_s.saturating_add(1);
        self.advised.tick();
        self.blocked.tick();
        if let Some(source) = &mut self.source {
            source.tick();
        }
    }

    /// Asks for what the open tab needs.
    fn ask(&mut self, effects: &mut Vec<Effect>) {
        let Some(netns) = self.netns else { return };
        if self.motion == Motion::Paused {
            return;
        }
        if self.tab == Tab::Advice && self.advised.wants(ADVICE_FRESH_S) {
            effects.push(Effect::Diagnose(netns));
        }
        if self.tab == Tab::Blocks && self.blocked.wants(BLOCKS_FRESH_S) {
            effects.push(Effect::ListBlocks(netns));
        }
        if self.tab == Tab::Sources
            && let Some(request) = self.source.as_mut().and_then(|source| source.wants_walk(netns))
        {
            effects.push(Effect::Walk(request));
        }
    }

    /// Keeps everything that is chosen or scrolled within what there is.
    fn settle(&mut self) {
        let body = usize::from(self.layout().body.height);
        // The first line has the names of the columns.
        let rows = body.saturating_sub(1);
        self.sources.settle(self.rows.len(), rows);
        self.namespaces.settle(self.watched.len(), rows);
        self.blocks.settle(self.kept_out().len(), rows);
        if self.scroll > 0 {
            let lines = draw::page(self).map_or(0, |page| page.len());
            self.scroll = self.scroll.min(lines.saturating_sub(body));
        }
    }

    /// Goes up or down in whatever is open.
    fn go(&mut self, way: Move) {
        match (self.overlay == Overlay::None && self.source.is_none(), self.tab) {
            (true, Tab::Sources) => {
                self.sources.go(way);
                self.settle();
                self.choose();
            }
            (true, Tab::Namespaces) => self.namespaces.go(way),
            (true, Tab::Blocks) => self.blocks.go(way),
            _ => self.scroll = way.from(self.scroll),
        }
    }

    fn choose(&mut self) {
        let row = self.snapshot().and_then(|snapshot| self.rows.at(snapshot, self.sources.at));
        // At the top one stays, whoever comes there.
        self.chosen = row.filter(|_| self.sources.at > 0).and_then(|row| row.numbers.key);
    }
}

#[cfg(test)]
mod tests;
