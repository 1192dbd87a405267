//! Whether a monitoring system should call somebody: the table's fill, and what the kernel lost while it was looked at.

use super::wording::{duration, percent};
use crate::model::snapshot::KernelStatistics;

/// How things stand, with the numbers that monitoring plugins end with (the guidelines of the Monitoring Plugins project).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ServiceState {
    /// Nothing to do.
    Ok = 0,
    /// It will go wrong.
    Warning = 1,
    /// It goes wrong.
    Critical = 2,
    /// It could not be found out.
    Unknown = 3,
}

impl ServiceState {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// From where on it is called what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Entries by limit that are a warning.
    pub warning: f64,
    /// Entries by limit that are critical.
    pub critical: f64,
    /// A table that will be full sooner is a warning, in seconds; `None` if that does not matter.
    pub time_to_full_s: Option<f64>,
}

/// What was read of one table, twice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Entries at first.
    pub entries_before: u64,
    /// Entries in the end.
    pub entries: u64,
    /// Entries that fit; `None` if unlimited.
    pub limit: Option<u64>,
    /// Time between the two readings, in seconds.
    pub seconds: f64,
    /// The kernel's counters in the end, since the namespace was made.
    pub kernel: KernelStatistics,
    /// What they grew by meanwhile.
    pub added: KernelStatistics,
}

impl Reading {
    /// Entries by limit; `None` if unlimited.
    pub fn utilization(&self) -> Option<f64> {
        let limit = self.limit?;
        (limit > 0).then(|| self.entries as f64 / limit as f64)
    }

    /// Packets that were refused an entry meanwhile. Those that lost a clash count as dropped too, but not those whose chain was
    /// too long (`__nf_conntrack_confirm`, net/netfilter/nf_conntrack_core.c).
    pub fn refused(&self) -> Option<u64> {
        let failed = self.added.insert_failed.unwrap_or(0);
        let clashes = failed.saturating_sub(self.added.chaintoolong.unwrap_or(0));
        Some(self.added.drop?.saturating_sub(clashes))
    }

    /// Time until the table is full at this growth; `None` unless it grows.
    pub fn time_to_full_s(&self) -> Option<f64> {
        let grown = self.entries.checked_sub(self.entries_before).filter(|grown| *grown > 0)?;
        let room = self.limit?.saturating_sub(self.entries);
        Some(room as f64 * self.seconds / grown as f64)
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The worst of all.
    pub state: ServiceState,
    /// What speaks for it, the worst first; where nothing is wrong, how full the table is.
    pub reasons: Vec<String>,
}

/// Judges a reading.
pub fn judge(reading: &Reading, thresholds: &Thresholds) -> Judgement {
    let mut found = Vec::new();
    if let Some(refused) = reading.refused().filter(|refused| *refused > 0) {
        let looked = duration(reading.seconds);
        found.push((ServiceState::Critical, format!("{refused} packets refused in {looked}")));
    }
    let fill = fill(reading);
    let state = match reading.utilization() {
        Some(used) if used >= thresholds.critical => ServiceState::Critical,
        Some(used) if used >= thresholds.warning => ServiceState::Warning,
        _ => ServiceState::Ok,
    };
    found.push((state, fill));
    let soon = reading.time_to_full_s().zip(thresholds.time_to_full_s);
    if let Some((left, _)) = soon.filter(|(left, least)| left < least) {
        found.push((ServiceState::Warning, format!("full in {}", duration(left))));
    }
    // The sort is stable: what was found first stays first among its equals.
    found.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    let state = found.first().map_or(ServiceState::Unknown, |(state, _)| *state);
    Judgement { state, reasons: found.into_iter().map(|(_, reason)| reason).collect() }
}

fn fill(reading: &Reading) -> String {
    let entries = reading.entries;
    match (reading.limit, reading.utilization()) {
        (Some(limit), Some(used)) => format!("{entries} of {limit} entries ({})", percent(used)),
        _ => format!("{entries} entries, no limit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds =
        Thresholds { warning: 0.75, critical: 0.9, time_to_full_s: Some(600.0) };

    fn reading(entries: u64) -> Reading {
        Reading {
            entries_before: entries,
            entries,
            limit: Some(1000),
            seconds: 1.0,
            ..Reading::default()
        }
    }

    fn state(reading: &Reading) -> ServiceState {
        judge(reading, &THRESHOLDS).state
    }

    #[test]
    fn a_threshold_is_reached_at_its_own_value() {
        for (entries, expected) in [
            (0, ServiceState::Ok),
            (749, ServiceState::Ok),
            (750, ServiceState::Warning),
            (899, ServiceState::Warning),
            (900, ServiceState::Critical),
            (1200, ServiceState::Critical),
        ] {
            assert_eq!(state(&reading(entries)), expected, "{entries}");
        }
        let judgement = judge(&reading(750), &THRESHOLDS);
        assert_eq!(judgement.reasons, ["750 of 1000 entries (75 %)"]);
    }

    #[test]
    fn any_refusal_is_critical_and_said_first() {
        let mut refusing = reading(10);
        refusing.added.drop = Some(7);
        let judgement = judge(&refusing, &THRESHOLDS);
        assert_eq!(judgement.state, ServiceState::Critical);
        assert_eq!(judgement.reasons, ["7 packets refused in 1.0 s", "10 of 1000 entries (1.0 %)"]);
        // Lost clashes are no refusals; chains that are too long are not among the dropped.
        refusing.added.insert_failed = Some(9);
        refusing.added.chaintoolong = Some(2);
        assert_eq!((refusing.refused(), state(&refusing)), (Some(0), ServiceState::Ok));
    }

    #[test]
    fn a_table_that_is_full_soon_is_a_warning_only_where_that_was_asked_for() {
        let mut growing = reading(400);
        growing.entries_before = 399;
        assert_eq!(growing.time_to_full_s(), Some(600.0));
        assert_eq!(state(&growing), ServiceState::Ok);
        growing.entries_before = 398;
        let judgement = judge(&growing, &THRESHOLDS);
        assert_eq!(judgement.state, ServiceState::Warning);
        assert_eq!(judgement.reasons.first().map(String::as_str), Some("full in 300 s"));
        let unasked = Thresholds { time_to_full_s: None, ..THRESHOLDS };
        assert_eq!(judge(&growing, &unasked).state, ServiceState::Ok);
    }

    #[test]
    fn without_a_limit_nothing_is_full() {
        let unlimited = Reading { limit: None, ..reading(5000) };
        let judgement = judge(&unlimited, &THRESHOLDS);
        assert_eq!((judgement.state, unlimited.time_to_full_s()), (ServiceState::Ok, None));
        assert_eq!(judgement.reasons, ["5000 entries, no limit"]);
    }
}
