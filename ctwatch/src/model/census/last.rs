//! The last walk of the table, as long as there is no later one: what the rows are given of it, and its floods.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

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
    crowds: HashSet<SourceKey>,
    /// Of a source that the walk did not count: nothing if it met none of it, else nobody knows.
    others: Option<Shares>,
}

impl LastWalk {
    /// Keeps a walk; `row_of` says under which key a source is counted.
    pub fn new(walk: Walk, row_of: impl Fn(&SourceKey) -> SourceKey) -> Self {
        let mut by_row: HashMap<SourceKey, Shares> = HashMap::with_capacity(walk.sources.len());
        let mut of_many: HashMap<SourceKey, (u64, u64)> = HashMap::new();
        for (source, shares) in &walk.sources {
            let row = row_of(source);
            by_row.entry(row).or_default().include(*shares);
            if row != *source {
                let (sources, entries) = of_many.entry(row).or_default();
                *sources += 1;
                *entries += u64::from(shares.entries);
            }
        }
        let is_crowd = |(sources, entries): &(u64, u64)| {
            *entries <= sources.saturating_mul(flood::ENTRIES_OF_A_SOURCE_MAX)
        };
        let crowds = of_many.into_iter().filter(|(_, of)| is_crowd(of)).map(|(row, _)| row);
        let floods = flood::recognise(&walk.destinations).into();
        let others = (walk.sources_not_counted == 0).then(Shares::default);
        Self { at: walk.at, census: walk.census, floods, by_row, crowds: crowds.collect(), others }
    }

    /// Whether a row for many addresses was one of sources that held next to nothing each.
    pub fn is_crowd(&self, row: &SourceKey) -> bool {
        self.crowds.contains(row)
    }

    /// The floods that it met.
    pub fn floods(&self) -> &Arc<[Flood]> {
        &self.floods
    }

    /// The census, and how old it is.
    pub fn now(&self, now: Moment) -> CensusNow {
        CensusNow { age_s: now.since(self.at).as_secs_f64(), census: Arc::clone(&self.census) }
    }

    /// Writes what was assured and unreplied into the rows, as far as it is known. Returns, of both, what belongs to no row: that of sources
    /// that found no room, and of sources that have no row any more.
    pub fn share_out(&self, rows: &mut [SourceNumbers]) -> (u64, u64) {
        let (mut assured, mut unreplied) = (0, 0);
        for row in rows {
            let Some(key) = &row.key else { continue };
            let Some(shares) = self.by_row.get(key).copied().or(self.others) else { continue };
            row.assured = Some(shares.assured.into());
            row.unreplied = Some(shares.unreplied.into());
            assured += u64::from(shares.assured);
            unreplied += u64::from(shares.unreplied);
        }
        let left = |all: u64, shared_out| all.saturating_sub(shared_out);
        (left(self.census.assured, assured), left(self.census.unreplied, unreplied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        census::{
            Tally,
            tests::{at, entry},
        },
        source,
    };

    /// Twelve hundred times a hundred sources with one entry each, of which some find no room.
    #[test]
    fn of_a_source_that_found_no_room_nothing_is_known_and_the_sum_holds() {
        let address = |number: u32| std::net::Ipv4Addr::from_bits(0x0A00_0000 + number).into();
        let mut tally = Tally::default();
        for number in 0..120_000 {
            tally.add(&entry(address(number), 17, address(0), (1, 53)));
        }
        let last = LastWalk::new(tally.end(at(1)), |source| *source);
        let row = |number| SourceNumbers {
            key: Some(source::key(3, address(number), 17)),
            ..SourceNumbers::default()
        };
        let mut rows: Vec<_> = [0, 119_999].map(row).into();
        assert_eq!(last.share_out(&mut rows), (0, 119_999));
        assert_eq!(rows.iter().map(|row| row.unreplied).collect::<Vec<_>>(), [Some(1), None]);
    }
}
