//! A change set that has everything in it, for tests of the output.

use std::path::PathBuf;

use crate::change::{
    history::{Entry, entry as entry_of},
    journal::Journal,
    ledger::ChangeSet,
    record::{Began, Contents, Deadline, Measured, Place, PlannedChange, Record},
    system::System as _,
};

const LIMIT: &str = "net.netfilter.nf_conntrack_max";
const FILE: &str = "/etc/sysctl.d/90-ctwatch.conf";

fn records() -> Vec<Record> {
    let began = Began {
        set: 3,
        at_ms: 1_700_000_000_000,
        place: Place {
            boot: "2f9c".to_owned(),
            netns: 4_026_531_840,
            netns_name: "gateway".to_owned(),
            is_initial: false,
        },
        cause: "growth".to_owned(),
        advice: vec!["raise-limit".to_owned()],
        changes: vec![PlannedChange { key: LIMIT.to_owned(), from: 65_536, to: 131_072 }],
        deadline: Some(Deadline { boottime_ns: 1, within_s: 300 }),
        before: Some(Measured {
            seconds: 10.0,
            entries: 65_536,
            limit: Some(65_536),
            new_per_s: Some(370.0),
            refused_per_s: Some(30.0),
            refused_share: Some(0.075),
        }),
        predicted_refused_share: Some(0.0),
    };
    let (set, key, path) = (3, LIMIT.to_owned(), PathBuf::from(FILE));
    let after = Measured { seconds: 10.0, entries: 70_000, ..Measured::default() };
    vec![
        Record::Began(began),
        Record::Changing { set, key: key.clone(), old: 65_536, new: 131_072 },
        Record::Changed { set, key },
        Record::Applied { set },
        Record::Measured { set, after },
        Record::Confirmed { set, at_ms: 1_700_000_001_000 },
        Record::Replacing {
            set,
            path: path.clone(),
            old: None,
            new: Some(Contents::Text("x = 1\n".to_owned())),
        },
        Record::Replaced { set, path },
        Record::Persisted { set, at_ms: 1_700_000_001_000 },
    ]
}

/// It was confirmed and made persistent, and then somebody else has written its value.
pub(crate) fn entry() -> Entry {
    let mut machine = crate::change::fake::Fake::new(&[(LIMIT, 9000)]);
    machine.replace_file(FILE.as_ref(), b"x = 1\n").unwrap();
    let mut journal = Journal::open(&mut machine, PathBuf::from("/journal")).unwrap();
    for record in records() {
        journal.append(&mut machine, record).unwrap();
    }
    let set: &ChangeSet = journal.ledger().set(3).unwrap();
    entry_of(set, "2f9c", 2, &mut machine)
}
