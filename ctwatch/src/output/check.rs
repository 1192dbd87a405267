//! The line of a monitoring plugin: state, reasons, and behind a bar the numbers (performance data), as the guidelines of the
//! Monitoring Plugins project have it.

use crate::advise::service_state::{Judgement, Reading, ServiceState, Thresholds};

/// The line of what was found; `who` is who fills the table, as a clause, if that is known.
pub fn line(
    judgement: &Judgement,
    who: Option<&str>,
    reading: &Reading,
    thresholds: &Thresholds,
) -> String {
    let reasons: Vec<&str> = judgement.reasons.iter().map(String::as_str).chain(who).collect();
    let text = reasons.join(", ");
    format!("{} | {}", heading(judgement.state, &text), numbers(reading, thresholds).join(" "))
}

/// The line where nothing could be found out.
pub fn unknown(why: &str) -> String {
    heading(ServiceState::Unknown, why)
}

/// One line without a bar, which would begin the numbers.
fn heading(state: ServiceState, text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("CONNTRACK {} - {}\n", state.name(), words.join(" ").replace('|', "/"))
        .trim_end()
        .to_owned()
}

/// `label=value[unit];warning;critical;minimum;maximum`; a counter has the unit `c`, what is not known is `U`.
fn numbers(reading: &Reading, thresholds: &Thresholds) -> Vec<String> {
    let of_limit = |share: f64| {
        reading.limit.map_or_else(String::new, |limit| format!("{:.0}", share * limit as f64))
    };
    let (warning, critical) = (thresholds.warning, thresholds.critical);
    let limit = reading.limit.map_or_else(String::new, |limit| limit.to_string());
    let mut numbers = vec![format!(
        "entries={};{};{};0;{limit}",
        reading.entries,
        of_limit(warning),
        of_limit(critical)
    )];
    numbers.extend(reading.utilization().map(|used| {
        format!(
            "utilization={:.2}%;{};{};0;100",
            used * 100.0,
            rounded(warning * 100.0),
            rounded(critical * 100.0)
        )
    }));
    let kernel = &reading.kernel;
    numbers.push(format!("refused={};;0;0", known(reading.refused())));
    for (label, total) in [
        ("drop", kernel.drop),
        ("early_drop", kernel.early_drop),
        ("insert_failed", kernel.insert_failed),
        ("chaintoolong", kernel.chaintoolong),
    ] {
        numbers.push(format!("{label}={}c", known(total)));
    }
    numbers
}

fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "U".to_owned(), |number| number.to_string())
}

/// At most two digits behind the point, and none that are 0.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{advise::service_state::judge, model::snapshot::KernelStatistics};

    const THRESHOLDS: Thresholds =
        Thresholds { warning: 0.75, critical: 0.9, time_to_full_s: None };

    #[test]
    fn state_reasons_and_numbers_are_one_line() {
        let reading = Reading {
            entries_before: 960,
            entries: 960,
            limit: Some(1024),
            seconds: 1.0,
            kernel: KernelStatistics {
                drop: Some(100),
                early_drop: Some(3),
                insert_failed: Some(0),
                ..KernelStatistics::default()
            },
            added: KernelStatistics { drop: Some(7), ..KernelStatistics::default() },
        };
        let line = line(
            &judge(&reading, &THRESHOLDS),
            Some("10.0.1.66 holds 80 %"),
            &reading,
            &THRESHOLDS,
        );
        assert_eq!(
            line,
            "CONNTRACK CRITICAL - 7 packets refused in 1.0 s, 960 of 1024 entries (94 %), 10.0.1.66 holds 80 % | \
             entries=960;768;922;0;1024 utilization=93.75%;75;90;0;100 refused=7;;0;0 drop=100c early_drop=3c \
             insert_failed=0c chaintoolong=Uc"
        );
    }

    #[test]
    fn without_a_limit_there_are_no_thresholds() {
        let reading = Reading { entries: 5, seconds: 1.0, ..Reading::default() };
        let line = line(&judge(&reading, &THRESHOLDS), None, &reading, &THRESHOLDS);
        assert!(line.contains(" | entries=5;;;0; refused=U;;0;0 drop=Uc"), "{line}");
        assert!(!line.contains("utilization"), "{line}");
    }

    #[test]
    fn whatever_is_said_stays_one_line_before_the_bar() {
        assert_eq!(unknown("a|b\n  c\n"), "CONNTRACK UNKNOWN - a/b c");
    }
}
