//! The last walk of the table, as long as there is no later one: what the rows are given of it, and its floods.

use std::{collections::HashMap, sync::Arc};

use ctwatch_common::source::SourceKey;

use super::{Census, Shares, Walk};
use crate::model::{
    flood::{self, Flood},
    moment::Moment,
    snapshot::{CensusNow, SourceNumbers},
};

/// What is kept of a walk.
#[derive(Debug)]
pub struct LastWalk {
    at: Moment,
    census: Arc<Census>,
    floods: Arc<[Flood]>,
    by_row: HashMap<SourceKey, Shares>,
}

impl LastWalk {
    /// Keeps a walk; `row_of` says under which key a source is counted.
    pub fn new(walk: Walk, row_of: impl Fn(&SourceKey) -> SourceKey) -> Self {
        let mut by_row: HashMap<SourceKey, Shares> = HashMap::with_capacity(walk.sources.len());
        for (source, shares) in &walk.sources {
            by_row.entry(row_of(source)).or_default().include(*shares);
        }
        let floods = flood::recognise(&walk.destinations).into();
        Self { at: walk.at, census: walk.census, floods, by_row }
    }

    /// The floods that it met.
    pub fn floods(&self) -> &Arc<[Flood]> {
        &self.floods
    }

    /// The census, and how old it is.
    pub fn now(&self, now: Moment) -> CensusNow {
        CensusNow { age_s: now.since(self.at).as_secs_f64(), census: Arc::clone(&self.census) }
    }

    /// Writes what was assured and unreplied into the rows. Returns, of both, what belongs to no row: that of sources
    /// that found no room, and of sources that have no row any more.
    pub fn share_out(&self, rows: &mut [SourceNumbers]) -> (u64, u64) {
        let (mut assured, mut unreplied) = (0, 0);
        for row in rows {
            let Some(key) = &row.key else { continue };
            let shares = self.by_row.get(key).copied().unwrap_or_default();
            row.assured = Some(shares.assured.into());
            row.unreplied = Some(shares.unreplied.into());
            assured += u64::from(shares.assured);
            unreplied += u64::from(shares.unreplied);
        }
        let left = |all: u64, shared_out| all.saturating_sub(shared_out);
        (left(self.census.assured, assured), left(self.census.unreplied, unreplied))
    }
}
