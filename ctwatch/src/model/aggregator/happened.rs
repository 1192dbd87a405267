//! The events of an interval: what is added to those that were sent, and what is not believed of them.

use ctwatch_common::source::SourceKey;

use super::{Aggregator, End, Event, EventKind, Kind};
use crate::model::mode::Rung;

impl Aggregator {
    /// Adds what was suppressed. Insertions that failed before they were looked at are in no row.
    pub(super) fn tell_suppressed(
        &mut self,
        failures_unseen: u64,
        end: End,
        events: &mut Vec<Event>,
    ) {
        let Self { netns, limits, suppressed, before, after, .. } = self;
        suppressed.tell(*netns, limits.kinds, [before, after], end, events);
        if limits.kinds.has(Kind::InsertFailed) {
            let nobody = SourceKey { netns: *netns, ..SourceKey::default() };
            let kind = Kind::InsertFailed;
            suppressed.tell_nobodys(kind, nobody, failures_unseen, end, events);
        }
    }

    /// What happened, with no reason that was only assumed as nothing else was seen, where not everything can be.
    pub(super) fn honest(&self, kind: EventKind) -> EventKind {
        let sees_all_work = self.mode.gc != Rung::None && self.mode.deletion != Rung::None;
        let has_chain_limit = self.kernel.chaintoolong.is_some();
        match kind {
            EventKind::EndedClosed if !sees_all_work => EventKind::Ended,
            EventKind::InsertFailedChainTooLong if !has_chain_limit => EventKind::InsertFailed,
            kind => kind,
        }
    }
}
