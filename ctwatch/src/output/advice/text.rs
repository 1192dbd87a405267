//! Advice for a person at a terminal of 80 columns: the cause, what to do in its order, what would not help. Commands
//! are never broken, so that they can be copied.

use std::fmt::Write as _;

use crate::{
    advise::{
        Diagnosis,
        advice::{Advice, Amount, Expected},
        case::Case,
    },
    output::{json::time, wrap::wrap},
};

/// What belongs to a heading stands under it, this far in.
const INDENT: usize = 3;
/// Sentences behind a label.
const COLUMN: usize = 12;

/// The whole diagnosis; each line ends with a newline.
pub fn text(case: &Case, diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    let finding = &diagnosis.finding;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}  {}", time(case.last.wall_ns), table(case));
    let _ = writeln!(text, "\nCAUSE: {}", finding.cause.name());
    wrap(&mut text, "", INDENT, &finding.explanation);
    for (number, advice) in (1..).zip(&diagnosis.advice) {
        let _ = writeln!(text, "\n{number}. {} ({})", advice.id, advice.severity.name());
        add(&mut text, advice);
    }
    if diagnosis.advice.is_empty() {
        text.push_str("\nNO ADVICE\n");
    }
    if !diagnosis.refused.is_empty() {
        text.push_str("\nNOT ADVISED\n");
    }
    for refused in &diagnosis.refused {
        let _ = writeln!(text, "{:INDENT$}{}", "", refused.rule);
        wrap(&mut text, "", COLUMN, &refused.why);
    }
    text
}

fn table(case: &Case) -> String {
    let table = &case.last.table;
    match (table.limit, table.utilization) {
        (Some(limit), Some(utilization)) => {
            format!("table {}/{limit} ({:.0} %)", table.entries, utilization * 100.0)
        }
        _ => format!("table {}, no limit", table.entries),
    }
}

fn add(text: &mut String, advice: &Advice) {
    wrap(text, "", INDENT, &advice.what);
    let mut labelled = |label: &str, sentence: &str| {
        wrap(text, &format!("{:INDENT$}{label}", ""), COLUMN, sentence);
    };
    labelled("why", &advice.why);
    for change in &advice.changes {
        labelled("change", &format!("{}: {} -> {}", change.key, change.from, change.to));
    }
    if !advice.changes.is_empty() {
        labelled("do it", &format!("ctwatch apply {}, and again with --yes", advice.id));
    }
    if let Some(expected) = expected(&advice.expected) {
        labelled("expected", &expected);
    }
    labelled("risk", &advice.risk);
    for (number, command) in advice.commands.iter().enumerate() {
        let label = if number == 0 { "by hand" } else { "" };
        let before = format!("{:INDENT$}{label}", "");
        let _ = writeln!(text, "{before:<COLUMN$}{command}");
    }
    wrap(text, &format!("{:INDENT$}until", ""), COLUMN, &advice.until);
}

/// What is foretold, in words; `None` if nothing is.
fn expected(expected: &Expected) -> Option<String> {
    let mut said = Vec::new();
    if let Some(freed) = expected.entries_freed.filter(|freed| *freed > 0) {
        said.push(format!("{freed} entries end"));
    }
    match expected.memory_bytes {
        Some(bytes) if bytes < 0 => {
            said.push(format!("{} of memory are freed", size(bytes.unsigned_abs())));
        }
        Some(bytes) if bytes > 0 => {
            said.push(format!("up to {} more memory is taken", size(bytes.unsigned_abs())));
        }
        _ => {}
    }
    if let Some(share) = expected.refused_share {
        let share = share * 100.0;
        said.push(format!("{share:.1} % of new connections are refused while the table is full"));
    }
    for further in &expected.further {
        let amount = match &further.amount {
            Amount::Count(count) => count.to_string(),
            Amount::Real(real) => format!("{real:.1}"),
            Amount::Text(text) => text.clone(),
        };
        said.push(format!("{} {amount}", further.name));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

fn size(bytes: u64) -> String {
    match bytes {
        b if b < 1_000_000 => format!("{:.0} kB", b as f64 / 1e3),
        b => format!("{:.0} MB", b as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use crate::output::{advice::sample, wrap::WIDTH};

    #[test]
    fn a_diagnosis_reads_in_eighty_columns() {
        let text = super::text(&sample::case(), &sample::diagnosis());
        assert_eq!(text, include_str!("sample.txt"));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn where_nothing_is_wrong_nothing_is_advised() {
        let mut diagnosis = sample::diagnosis();
        diagnosis.advice.clear();
        diagnosis.refused.clear();
        let text = super::text(&sample::case(), &diagnosis);
        assert!(text.ends_with("\n\nNO ADVICE\n"), "{text}");
    }
}
