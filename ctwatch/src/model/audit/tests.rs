//! Which identities hold, which do not, and which cannot be checked.

use std::sync::Arc;

use super::*;
use crate::{
    model::snapshot::{KernelStatistics, SourceNumbers, Table},
    output::sample,
};

/// Sixty entries asked for, ten of them refused and seven gone, of these three for somebody's packet.
fn counters() -> Counters {
    Counters {
        attempts: 60,
        refused: 10,
        ended: 7,
        events_sent: 2,
        events_lost: 1,
        evicted: 3,
        evictions_caused: 3,
        ..Counters::default()
    }
}

fn sums() -> Sums {
    Sums {
        held: Some(143),
        sources: counters(),
        all_rows: counters(),
        all_cpus: counters(),
        ..Sums::default()
    }
}

fn snapshot(sums: Option<[Sums; 2]>) -> Snapshot {
    let numbers =
        |new| SourceNumbers { new: Some(new), ended: Some(7), ..SourceNumbers::default() };
    let ends = |numbers| SourceNumbers {
        transient: Some(1),
        evicted: Some(3),
        timed_out: Some(4),
        evicted_by_gc: Some(2),
        deleted: Some(3),
        closed: Some(1),
        insert_failed: Some(6),
        ..numbers
    };
    Snapshot {
        table: Table { entries: 143, ..Table::default() },
        totals: SourceNumbers { ended: Some(14), ..ends(numbers(50)) },
        sources: vec![numbers(30)],
        others: SourceNumbers { ended: Some(7), ..ends(numbers(20)) },
        kernel: KernelStatistics {
            drop: Some(14),
            insert_failed: Some(6),
            chaintoolong: Some(2),
            early_drop: Some(3),
            ..KernelStatistics::default()
        },
        sums,
        ..sample::snapshot()
    }
}

/// Events told of the nine refusals that were not lost in the ring.
fn find(snapshot: &Snapshot) -> Vec<Identity> {
    audit(&Case { last: snapshot, refusals_told: 9 })
}

fn wrong(snapshot: &Snapshot) -> Vec<(&'static str, i64)> {
    let identities = find(snapshot);
    identities
        .iter()
        .filter(|identity| identity.holds() == Some(false))
        .map(|identity| (identity.id, identity.sides.as_ref().unwrap().difference()))
        .collect()
}

#[test]
fn all_hold_where_everything_was_seen() {
    let identities = find(&snapshot(Some([sums(), sums()])));
    assert_eq!(all_hold(&identities), Some(true), "{identities:?}");
    assert!(identities.iter().all(|identity| identity.holds() == Some(true)), "{identities:?}");
}

#[test]
fn each_wrong_number_breaks_its_own_identity() {
    let fine = snapshot(Some([sums(), sums()]));
    type Break = fn(&mut Snapshot, &mut Sums);
    let breaks: [(&str, i64, Break); 11] = [
        ("held", -2, |snapshot, _| snapshot.table.entries = 145),
        ("refused", -1, |snapshot, _| snapshot.kernel.drop = Some(15)),
        ("evicted", 1, |snapshot, _| snapshot.kernel.early_drop = Some(2)),
        ("evictions_caused", 1, |_, sums| sums.sources.evictions_caused = 2),
        ("ends", -1, |snapshot, _| {
            snapshot.others.closed = Some(2);
            snapshot.totals.closed = Some(2);
        }),
        ("insert_failed", 1, |snapshot, _| {
            snapshot.others.insert_failed = Some(7);
            snapshot.totals.insert_failed = Some(7);
        }),
        ("sums", 4, |snapshot, _| snapshot.others.new = Some(24)),
        ("witness_new", -1, |_, sums| sums.all_rows.attempts = 59),
        ("witness_refused", -1, |_, sums| sums.all_cpus.refused = 11),
        ("witness_ended", 1, |_, sums| sums.all_cpus.ended = 6),
        ("events", -1, |_, sums| sums.sources.events_lost = 0),
    ];
    for (id, difference, wrongly) in breaks {
        let (mut snapshot, mut sums) = (fine.clone(), sums());
        wrongly(&mut snapshot, &mut sums);
        snapshot.sums = Some([sums, sums]);
        assert_eq!(wrong(&snapshot), [(id, difference)]);
    }
}

#[test]
fn what_moves_while_it_is_read_is_equal_as_far_as_it_can_have_been() {
    let moving = |early: i64, late: i64| {
        let at = |held| Sums { held: Some(held), ..sums() };
        wrong(&snapshot(Some([at(early), at(late)])))
    };
    assert_eq!(moving(140, 150), []);
    assert_eq!(moving(150, 140), []);
    assert_eq!(moving(100, 142), [("held", -1)]);
    assert_eq!(moving(145, 150), [("held", 2)]);
}

/// What had been counted before the kernel's own counts were first read is not among these.
#[test]
fn an_audit_may_begin_in_mid_flood() {
    let counted = |refused, evicted| Counters { refused, evicted, ..Counters::default() };
    let [mut before, mut after] = [sums(), sums()];
    before.before_kernel = counted(4, 1);
    after.before_kernel = counted(6, 2);
    let mut begun = snapshot(Some([before, after]));
    for (drop, early_drop, expected) in [
        (4, 1, [].as_slice()),
        (6, 2, &[]),
        (3, 0, &[("refused", 1), ("evicted", 1)]),
        (7, 3, &[("refused", -1), ("evicted", -1)]),
    ] {
        begun.kernel.drop = Some(drop);
        begun.kernel.early_drop = Some(early_drop);
        begun.kernel.insert_failed = None;
        begun.kernel.chaintoolong = None;
        assert_eq!(wrong(&begun), expected, "{drop} {early_drop}");
    }
}

/// Entries that were deleted before they could be inserted are in insert_failed and not in drop.
#[test]
fn dying_entries_are_no_clashes() {
    let mut dying = snapshot(Some([sums(), sums()]));
    dying.kernel.drop = Some(11);
    let identities = find(&dying);
    let refused = identities.iter().find(|identity| identity.id == "refused").unwrap();
    let sides = refused.sides.as_ref().unwrap();
    assert_eq!((sides.left, sides.right), (10, 10));
    assert!(sides.note.as_deref().is_some_and(|note| note.starts_with("3 entries")), "{sides:?}");
    dying.kernel.drop = Some(9);
    assert_eq!(wrong(&dying), [("refused", 1)]);
}

#[test]
fn missed_calls_may_have_been_evictions() {
    let mut missed = snapshot(Some([sums(), sums()]));
    missed.kernel.early_drop = Some(5);
    assert_eq!(wrong(&missed), [("evicted", -2)]);
    missed.loss.probe_missed = Some(2);
    assert_eq!(wrong(&missed), []);
}

#[test]
fn what_cannot_be_seen_is_not_checked_and_says_why() {
    let mut blind = snapshot(None);
    Arc::make_mut(&mut blind.mode).degraded.push("this kernel has no kprobes".to_owned());
    let identities = find(&blind);
    assert_eq!(all_hold(&identities), None);
    for identity in &identities {
        let why = identity.sides.as_ref().unwrap_err();
        assert!(why.contains("no kprobes"), "{why}");
    }
    let mut untold = snapshot(Some([Sums { held: None, ..sums() }; 2]));
    untold.kernel.drop = None;
    untold.loss.events_dropped = 1;
    let unchecked = find(&untold).into_iter().filter(|identity| identity.holds().is_none());
    let unchecked: Vec<&str> = unchecked.map(|identity| identity.id).collect();
    assert_eq!(unchecked, ["held", "refused", "events"]);
    assert_eq!(all_hold(&[]), None);
}
