//! Whatever fails, and wherever the process is killed: afterwards everything can be put back exactly, or it is said what
//! somebody else has changed.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{
    apply::{ApplyError, Outcome, apply},
    fake::{Fake, Fault},
    files::{FileWish, replace},
    journal::{Journal, JournalError},
    order::order,
    record::{Began, Deadline, LineError, Measured, Place, PlannedChange, Record, UndoneBy},
    undo::{Foreign, UndoError, Undoing, Undone, undo},
};
use crate::advise::settings::{EXPECTATIONS, HASHSIZE, LIMIT, TCP_LOOSE};

const JOURNAL: &str = "/var/lib/ctwatch/journal";
const UDP: &str = "net.netfilter.nf_conntrack_udp_timeout";
const ESTABLISHED: &str = "net.netfilter.nf_conntrack_tcp_timeout_established";
const SYSCTL_FILE: &str = "/etc/sysctl.d/99-ctwatch.conf";
const MODPROBE_FILE: &str = "/etc/modprobe.d/ctwatch.conf";

const KEYS: [&str; 6] = [LIMIT, HASHSIZE, EXPECTATIONS, UDP, ESTABLISHED, TCP_LOOSE];
const ALL_FAULTS: [Fault; 7] = [
    Fault::Fails(libc::EIO),
    Fault::Fails(libc::EROFS),
    Fault::FailsAfter(libc::EIO),
    Fault::FailsHalfway(libc::ENOSPC),
    Fault::DiesBefore,
    Fault::DiesAfter,
    Fault::DiesHalfway,
];

fn machine() -> Fake {
    let mut fake = Fake::new(&[
        (LIMIT, 65_536),
        (HASHSIZE, 65_536),
        (EXPECTATIONS, 1024),
        (UDP, 30),
        (ESTABLISHED, 432_000),
        (TCP_LOOSE, 1),
    ]);
    fake.files
        .insert(PathBuf::from(SYSCTL_FILE), b"net.netfilter.nf_conntrack_max = 65536\n".to_vec());
    fake
}

fn journal(fake: &mut Fake) -> Result<Journal, JournalError> {
    Journal::open(fake, PathBuf::from(JOURNAL))
}

fn began(set: u64, changes: &[PlannedChange]) -> Began {
    let mut changes = changes.to_vec();
    order(&mut changes);
    Began {
        set,
        at_ms: 1_700_000_000_000,
        place: Place {
            boot: "2f9c".to_owned(),
            netns: 4_026_531_840,
            netns_name: "self".to_owned(),
            is_initial: true,
        },
        cause: "growth".to_owned(),
        advice: vec!["raise-limit".to_owned()],
        changes,
        deadline: Some(Deadline { boottime_ns: 1 << 40, within_s: 300 }),
        before: Some(Measured { seconds: 10.0, entries: 9, ..Measured::default() }),
        predicted_refused_share: None,
    }
}

fn change(key: &str, from: u64, to: u64) -> PlannedChange {
    PlannedChange { key: key.to_owned(), from, to }
}

/// Limit, buckets and a timeout.
fn typical() -> Vec<PlannedChange> {
    vec![change(UDP, 30, 20), change(LIMIT, 65_536, 131_072), change(HASHSIZE, 65_536, 131_072)]
}

fn wishes() -> Vec<FileWish> {
    let wish = |path: &str, contents: &str| FileWish {
        path: PathBuf::from(path),
        contents: Some(contents.as_bytes().to_vec()),
    };
    vec![
        wish(MODPROBE_FILE, "options nf_conntrack hashsize=131072\n"),
        wish(SYSCTL_FILE, "b = 2\n"),
    ]
}

/// One `ctwatch apply --yes`.
fn run_apply(fake: &mut Fake, changes: &[PlannedChange]) -> Result<(), ApplyError> {
    let mut journal = journal(fake).map_err(ApplyError::NotBegun)?;
    let began = began(journal.ledger().next_id(), changes);
    apply(began, &mut journal, fake, || Ok(()))
}

/// One `ctwatch confirm --persist`. Whether it did all.
fn run_persist(fake: &mut Fake) -> bool {
    let Ok(mut journal) = journal(fake) else { return false };
    let Some(id) = journal.ledger().latest().map(|set| set.id()) else { return false };
    journal.append(fake, Record::Confirmed { set: id, at_ms: 1 }).is_ok()
        && replace(id, &wishes(), &mut journal, fake, 1).is_ok()
}

fn by_operator(foreign: Foreign<'_>) -> Undoing<'_> {
    Undoing { by: UndoneBy::Operator, foreign, at_ms: 2, boot: "2f9c" }
}

/// One `ctwatch rollback`; `None` if there is nothing to undo.
fn run_undo(fake: &mut Fake, foreign: Foreign<'_>) -> Option<Result<Undone, UndoError>> {
    let mut journal = journal(fake).ok()?;
    let id = journal.ledger().latest()?.id();
    Some(undo(id, &mut journal, fake, &by_operator(foreign)))
}

fn without_journal(fake: &Fake) -> Fake {
    let mut fake = fake.revived(&[]);
    fake.files.remove(Path::new(JOURNAL));
    fake.sizes.clear();
    fake
}

/// Values and files, without the journal, are the same.
#[track_caller]
fn assert_same(found: &Fake, expected: &Fake, what: &str) {
    let (found, expected) = (without_journal(found), without_journal(expected));
    assert_eq!(found.values, expected.values, "{what}");
    assert_eq!(found.files, expected.files, "{what}");
}

/// At no moment were chains expected to be longer than at the beginning or as planned.
#[track_caller]
fn assert_never_worse(fake: &Fake, changes: &[PlannedChange], what: &str) {
    let initial = fake.sizes[0];
    let to = |key, from| {
        changes.iter().find(|change| change.key == key).map_or(from, |change| change.to)
    };
    let planned = (to(LIMIT, initial.0), to(HASHSIZE, initial.1));
    let is_worse = |(limit, buckets): (u64, u64), (other, others): (u64, u64)| {
        u128::from(limit) * u128::from(others) > u128::from(other) * u128::from(buckets)
    };
    for sizes in &fake.sizes {
        assert!(
            !(is_worse(*sizes, initial) && is_worse(*sizes, planned)),
            "{what}: {:?} from {initial:?} to {planned:?}",
            fake.sizes
        );
    }
}

/// Applies with faults, makes persistent with faults, undoes with faults, and in the end undoes without any.
fn survive(changes: &[PlannedChange], faults: &[Vec<(usize, Fault)>]) {
    let what = format!("{changes:?} {faults:?}");
    let initial = machine();
    let none = Vec::new();
    let faults = |round: usize| faults.get(round).unwrap_or(&none);
    let mut fake = initial.revived(faults(0));
    let applied = run_apply(&mut fake, changes);
    match &applied {
        Ok(()) => {
            let expected = |value: &PlannedChange| fake.values[&value.key] == value.to;
            assert!(changes.iter().all(expected), "{what}");
        }
        Err(_) if fake.is_dead() => {}
        Err(ApplyError::Failed { outcome: Outcome::Remains { left }, .. }) => {
            assert!(!left.is_empty(), "{what}");
        }
        Err(_) => assert_same(&fake, &initial, &what),
    }
    assert_never_worse(&fake, changes, &what);
    if applied.is_ok() {
        fake = fake.revived(faults(1));
        let is_persistent = run_persist(&mut fake);
        assert!(!is_persistent || fake.files[Path::new(SYSCTL_FILE)] == b"b = 2\n", "{what}");
    }
    for round in 2..4 {
        fake = fake.revived(faults(round));
        run_undo(&mut fake, Foreign::Refuse);
        assert_never_worse(&fake, changes, &what);
    }
    fake = fake.revived(&[]);
    match run_undo(&mut fake, Foreign::Refuse) {
        None => {}
        Some(Ok(undone)) => {
            assert!(undone.left.is_empty() && undone.unnoted.is_none(), "{undone:?} {what}");
        }
        Some(Err(error)) => panic!("{error}: {what}"),
    }
    assert_never_worse(&fake, changes, &what);
    assert_same(&fake, &initial, &what);
    assert!(journal(&mut fake).unwrap().ledger().latest().is_none(), "{what}");
}

#[test]
fn a_fault_at_any_call_leaves_nothing_that_cannot_be_undone() {
    let mut reached = 0;
    for call in 0..40 {
        for fault in ALL_FAULTS {
            for later in [None, Some(0), Some(1), Some(3), Some(4), Some(6), Some(8)] {
                let later: Vec<_> =
                    later.map(|call| (call, Fault::DiesAfter)).into_iter().collect();
                survive(&typical(), &[vec![(call, fault)], Vec::new(), later]);
            }
        }
        let mut fake = machine().revived(&[(call, Fault::Fails(libc::EIO))]);
        reached += usize::from(run_apply(&mut fake, &typical()).is_err());
    }
    // Else some of the faults would have been behind the end.
    assert!((10..40).contains(&reached), "{reached}");
}

#[test]
fn a_fault_at_any_call_of_making_it_persistent_or_undoing_it_leaves_nothing_either() {
    for round in 1..4 {
        for call in 0..40 {
            for fault in ALL_FAULTS {
                let mut faults = vec![Vec::new(); 4];
                faults[round] = vec![(call, fault)];
                survive(&typical(), &faults);
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<PlannedChange>> {
    let initial = machine().values;
    let change = (0..KEYS.len(), 1..400_u64).prop_map(move |(key, to)| {
        let key = KEYS[key];
        let to = match key {
            HASHSIZE => to * 512,
            TCP_LOOSE => to % 2,
            LIMIT => to * 500,
            _ => to,
        };
        change(key, initial[key], to)
    });
    proptest::collection::vec(change, 1..6).prop_map(|mut changes| {
        changes.retain(|change| change.from != change.to);
        let mut seen = Vec::new();
        changes.retain(|change| {
            !seen.contains(&change.key) && {
                seen.push(change.key.clone());
                true
            }
        });
        changes
    })
}

fn faults() -> impl Strategy<Value = Vec<Vec<(usize, Fault)>>> {
    let fault = (0..30_usize, proptest::sample::select(ALL_FAULTS.to_vec()));
    proptest::collection::vec(proptest::collection::vec(fault, 0..3), 4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_faults_in_any_plan_leave_nothing_that_cannot_be_undone(
        changes in changes(), faults in faults()
    ) {
        survive(&changes, &faults);
    }

    #[test]
    fn what_somebody_else_wrote_is_not_overwritten_and_nothing_is_half_undone(
        changes in changes(), which in 0..6_usize, in_file: bool
    ) {
        prop_assume!(!changes.is_empty());
        let initial = machine();
        let mut fake = initial.revived(&[]);
        run_apply(&mut fake, &changes).unwrap();
        prop_assert!(run_persist(&mut fake));
        let mut expected = initial.revived(&[]);
        if in_file {
            for machine in [&mut fake, &mut expected] {
                machine.files.insert(PathBuf::from(SYSCTL_FILE), b"theirs = 1\n".to_vec());
            }
        } else {
            // No value of a plan is as large.
            let theirs = &changes[which % changes.len()];
            for machine in [&mut fake, &mut expected] {
                machine.values.insert(theirs.key.clone(), 1_000_448);
            }
        }
        let before = fake.revived(&[]);
        let refused = run_undo(&mut fake, Foreign::Refuse).unwrap();
        assert!(matches!(refused, Err(UndoError::Foreign { .. })));
        assert_same(&fake, &before, "a refused rollback does nothing");

        let mut forced = fake.revived(&[]);
        run_undo(&mut forced, Foreign::Overwrite).unwrap().unwrap();
        assert_same(&forced, &initial, "a forced rollback restores all");

        // As the watchdog does. Sizes may have to stay where only one of them could be put back.
        let undone = run_undo(&mut fake, Foreign::LeaveBut("")).unwrap().unwrap();
        prop_assert!(!undone.left.is_empty());
        for key in KEYS.iter().filter(|key| ![LIMIT, HASHSIZE].contains(key)) {
            prop_assert_eq!(fake.values[*key], expected.values[*key]);
        }
        assert_eq!(fake.files[Path::new(SYSCTL_FILE)], expected.files[Path::new(SYSCTL_FILE)]);
    }

    #[test]
    fn a_journal_cut_anywhere_is_read_and_one_that_is_damaged_anywhere_is_refused(
        cut in any::<prop::sample::Index>(), flip in 1..=255_u8
    ) {
        let mut fake = machine();
        run_apply(&mut fake, &typical()).unwrap();
        prop_assert!(run_persist(&mut fake));
        run_undo(&mut fake, Foreign::Refuse).unwrap().unwrap();
        let whole = fake.files[Path::new(JOURNAL)].clone();
        let at = cut.index(whole.len());
        let mut read = |bytes: Vec<u8>| {
            fake.files.insert(PathBuf::from(JOURNAL), bytes);
            journal(&mut fake)
        };
        prop_assert!(read(whole[..at].to_vec()).is_ok());
        let mut damaged = whole.clone();
        damaged[at] ^= flip;
        let read = read(damaged);
        if at + 1 == whole.len() {
            // Without its end the last line is one that was cut.
            prop_assert!(read.is_ok());
        } else {
            let error = read.unwrap_err();
            let is_damaged = matches!(error, JournalError::Line { source: LineError::Damaged, .. });
            prop_assert!(is_damaged, "{}", error);
        }
    }

    #[test]
    fn whatever_is_in_the_journal_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut fake = machine();
        fake.files.insert(PathBuf::from(JOURNAL), bytes.clone());
        let _ = journal(&mut fake);
        let _ = Record::from_line(&bytes);
    }
}

#[test]
fn a_record_of_a_newer_version_or_of_something_else_is_refused_by_name() {
    let line = |json: &str| format!("{:08x} {json}", super::checksum::crc32(json.as_bytes()));
    let read = |json: &str| Record::from_line(line(json).as_bytes()).unwrap_err();
    assert_eq!(read(r#"{"kind":"moved","set":1}"#), LineError::NewerVersion("moved".to_owned()));
    assert_eq!(
        read(r#"{"kind":"changing","set":1,"key":"kernel.panic","old":0,"new":1}"#),
        LineError::Foreign("kernel.panic".to_owned())
    );
    for path in ["/root/.ssh/authorized_keys", "/etc/../root/x", "etc/x"] {
        let json = format!(r#"{{"kind":"replaced","set":1,"path":"{path}"}}"#);
        assert_eq!(read(&json), LineError::Foreign(path.to_owned()));
    }
    assert!(matches!(read(r#"{"set":1}"#), LineError::NoRecord(_)));
    assert!(matches!(read(r#"{"kind":"applied","set":1,"more":2}"#), LineError::NoRecord(_)));
}

#[test]
fn an_earlier_change_of_the_same_value_is_not_undone_before_the_later_one() {
    let initial = machine();
    let mut fake = initial.revived(&[]);
    run_apply(&mut fake, &[change(LIMIT, 65_536, 131_072)]).unwrap();
    run_apply(&mut fake, &[change(LIMIT, 131_072, 262_144)]).unwrap();
    let mut journal = journal(&mut fake).unwrap();
    let mut undo_set = |id| undo(id, &mut journal, &mut fake, &by_operator(Foreign::Refuse));
    assert!(matches!(undo_set(1), Err(UndoError::Later { later: 2, .. })));
    undo_set(2).unwrap();
    undo_set(1).unwrap();
    assert_same(&fake, &initial, "both are undone");
}

#[test]
fn a_plan_whose_values_have_moved_changes_nothing() {
    let mut fake = machine();
    fake.values.insert(UDP.to_owned(), 31);
    let before = fake.revived(&[]);
    let error = run_apply(&mut fake, &typical()).unwrap_err();
    assert!(matches!(error, ApplyError::Moved { expected: 30, found: 31, .. }), "{error}");
    assert_same(&fake, &before, "nothing");
    assert_eq!(fake.files.get(Path::new(JOURNAL)), None);
}

#[test]
fn without_a_watchdog_nothing_is_changed() {
    let mut fake = machine();
    let before = fake.revived(&[]);
    let mut journal = journal(&mut fake).unwrap();
    let error = apply(began(1, &typical()), &mut journal, &mut fake, || Err("no fork".to_owned()));
    assert!(error.unwrap_err().to_string().contains("no fork"));
    assert_same(&fake, &before, "nothing");
    assert!(journal.ledger().latest().is_none());
}

#[test]
fn in_a_child_namespace_the_kernel_refuses_and_all_is_undone() {
    let mut fake = machine();
    fake.is_child = true;
    let before = fake.revived(&[]);
    let error = run_apply(&mut fake, &typical()).unwrap_err().to_string();
    assert!(error.contains("initial network namespace") && error.contains("as it was"), "{error}");
    assert_same(&fake, &before, "nothing");
}

#[test]
fn what_is_gone_needs_no_undoing() {
    let mut fake = machine();
    run_apply(&mut fake, &typical()).unwrap();
    fake.values.clear();
    let undone = run_undo(&mut fake, Foreign::Refuse).unwrap().unwrap();
    assert_eq!((undone.restored.len(), undone.needless.len(), undone.left.len()), (0, 3, 0));
}

#[test]
fn after_a_restart_only_what_files_set_again_is_undone() {
    let mut fake = machine();
    run_apply(&mut fake, &typical()).unwrap();
    // The kernel's own values, and one that a file has set.
    fake.values.insert(HASHSIZE.to_owned(), 8192);
    fake.values.insert(UDP.to_owned(), 33);
    let mut journal = journal(&mut fake).unwrap();
    let after = Undoing { boot: "another", ..by_operator(Foreign::Refuse) };
    let undone = undo(1, &mut journal, &mut fake, &after).unwrap();
    assert_eq!(undone.restored, [LIMIT]);
    assert_eq!((fake.values[LIMIT], fake.values[HASHSIZE], fake.values[UDP]), (65_536, 8192, 33));
}
