//! Rows are read one after the other while entries come and go: that alone must never look like drift.

use proptest::prelude::*;

use super::{
    tests::{NETNS, aggregator, at, client, reading},
    *,
};
use crate::model::limits::SortBy;

const SOURCES: usize = 4;

/// What happens to a source between two readings of a row.
#[derive(Clone, Copy, Debug)]
enum Step {
    Comes(usize),
    Goes(usize),
    Refused(usize),
}

type Rows = [(u64, u64, u64); SOURCES];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..SOURCES).prop_map(Step::Comes),
        (0..SOURCES).prop_map(Step::Goes),
        (0..SOURCES).prop_map(Step::Refused),
    ]
}

fn apply(rows: &mut Rows, steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Comes(source) => rows[source].0 += 1,
            Step::Goes(source) if rows[source].0 > rows[source].1 + rows[source].2 => {
                rows[source].2 += 1;
            }
            Step::Goes(_) => {}
            Step::Refused(source) => {
                rows[source].0 += 1;
                rows[source].1 += 1;
            }
        }
    }
}

/// Reads the rows, with some of the steps before each.
fn read(rows: &mut Rows, steps: &[Vec<Step>]) -> RowReading {
    let mut read = Vec::new();
    for source in 0..SOURCES {
        apply(rows, &steps[source]);
        let (attempts, refused, ended) = rows[source];
        read.push((client(u8::try_from(source).unwrap()), attempts, refused, ended));
    }
    reading(&read)
}

proptest! {
    #[test]
    fn what_moves_while_it_is_read_is_no_drift(
        start in prop::collection::vec(step(), 0..40),
        during in prop::collection::vec(prop::collection::vec(step(), 0..4), 2 * SOURCES + 1),
        wrong in 1..50_u64,
    ) {
        let mut rows = Rows::default();
        apply(&mut rows, &start);
        let before = read(&mut rows, &during[..SOURCES]);
        apply(&mut rows, &during[2 * SOURCES]);
        let entries = rows.iter().map(|(attempts, refused, ended)| attempts - refused - ended).sum();
        let after = read(&mut rows, &during[SOURCES..2 * SOURCES]);
        let mut aggregator = aggregator(10, SortBy::Entries);
        let moved = after.total(NETNS).attempts + after.total(NETNS).refused + after.total(NETNS).ended
            - before.total(NETNS).attempts - before.total(NETNS).refused - before.total(NETNS).ended;
        aggregator.observe(Observation::Rows { before: Box::new(before), after: Box::new(after) });
        aggregator.observe(Observation::Table(TableReading { entries, ..TableReading::default() }));
        prop_assert_eq!(aggregator.tick(at(1), Ending::More).drift_entries, Some(0));
        // What cannot have moved is seen.
        let entries = entries + moved + wrong;
        aggregator.observe(Observation::Table(TableReading { entries, ..TableReading::default() }));
        let drift = aggregator.tick(at(2), Ending::More).drift_entries.unwrap();
        prop_assert!((-checks::signed(moved + wrong)..=-checks::signed(wrong)).contains(&drift), "{drift}");
    }
}
