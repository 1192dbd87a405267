//! Whether a timeout has held for long enough that what entries have left says how long they have been idle: by the
//! journal alone, and without a clock.
//!
//! An entry that was given a lower value than today's seems to have been idle for longer than it was. If the lower value was
//! in force until less time ago than the new one lasts, such an entry may be in use. What others have set is not in the
//! journal.

use super::{ledger::Ledger, record::PlannedChange};

/// The first of the changes whose timeout was lower until so many seconds ago, and how many that are, if they are less than
/// its new value.
pub fn lower_lately<'a>(
    ledger: &Ledger,
    netns: u32,
    boot: &str,
    changes: &'a [PlannedChange],
    now_ms: i64,
) -> Option<(&'a PlannedChange, u64)> {
    let here = || {
        ledger
            .sets()
            .iter()
            .filter(|set| set.began.place.netns == netns && set.began.place.boot == boot)
    };
    changes.iter().find_map(|change| {
        let ended_ms = here().flat_map(|set| {
            let values = set.values.iter().filter(|value| value.key == change.key);
            values.flat_map(|value| {
                let raised = (value.old < change.from).then_some(set.began.at_ms);
                let undone = set.rolled_back.as_ref().filter(|_| value.new < change.from);
                raised.into_iter().chain(undone.map(|undone| undone.at_ms))
            })
        });
        let since_ms = now_ms.saturating_sub(ended_ms.max()?);
        let since_s = u64::try_from(since_ms).unwrap_or(0) / 1000;
        (since_s < change.to).then_some((change, since_s))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::record::{Began, Place, Record, UndoneBy};

    const KEY: &str = "net.netfilter.nf_conntrack_tcp_timeout_established";
    const NETNS: u32 = 9;
    const BOOT: &str = "2f9c";

    fn to(from: u64, to: u64) -> PlannedChange {
        PlannedChange { key: KEY.to_owned(), from, to }
    }

    /// Set at one second, and undone at another.
    fn ledger(change: PlannedChange, at_s: i64, undone_at_s: Option<i64>) -> Ledger {
        let place = Place {
            boot: BOOT.to_owned(),
            netns: NETNS,
            netns_name: "self".to_owned(),
            is_initial: true,
        };
        let PlannedChange { key, from: old, to: new } = change.clone();
        let began = Began {
            set: 1,
            at_ms: at_s * 1000,
            place,
            cause: String::new(),
            advice: Vec::new(),
            changes: vec![change],
            deadline: None,
            before: None,
            predicted_refused_share: None,
        };
        let undone = undone_at_s.map(|at_s| Record::RolledBack {
            set: 1,
            at_ms: at_s * 1000,
            by: UndoneBy::Operator,
            left: Vec::new(),
        });
        let mut ledger = Ledger::default();
        let records = [
            Record::Began(began),
            Record::Changing { set: 1, key: key.clone(), old, new },
            Record::Changed { set: 1, key },
            Record::Applied { set: 1 },
        ];
        for record in records.into_iter().chain(undone) {
            ledger.take(record).unwrap();
        }
        ledger
    }

    /// For how long it has not been lower, if that is too short for 86400 s.
    fn lately(ledger: &Ledger, now_s: i64) -> Option<u64> {
        lower_lately(ledger, NETNS, BOOT, &[to(432_000, 86_400)], now_s * 1000)
            .map(|(_, since_s)| since_s)
    }

    #[test]
    fn a_lower_value_counts_from_when_it_was_taken_back() {
        let tried = ledger(to(432_000, 21_600), 100, Some(400));
        assert_eq!(lately(&tried, 500), Some(100));
        assert_eq!(lately(&tried, 400 + 86_399), Some(86_399));
        assert_eq!(lately(&tried, 400 + 86_400), None);
        let raised = ledger(to(7440, 432_000), 100, None);
        assert_eq!(lately(&raised, 500), Some(400));
    }

    #[test]
    fn a_higher_value_another_place_and_another_setting_do_not_count() {
        assert_eq!(lately(&Ledger::default(), 500), None);
        assert_eq!(lately(&ledger(to(864_000, 432_000), 100, None), 500), None);
        let tried = ledger(to(432_000, 21_600), 100, Some(400));
        let asked = [to(432_000, 86_400)];
        assert_eq!(lower_lately(&tried, NETNS + 1, BOOT, &asked, 500_000), None);
        assert_eq!(lower_lately(&tried, NETNS, "another", &asked, 500_000), None);
        let other = [PlannedChange { key: "other".to_owned(), ..to(432_000, 86_400) }];
        assert_eq!(lower_lately(&tried, NETNS, BOOT, &other, 500_000), None);
    }
}
