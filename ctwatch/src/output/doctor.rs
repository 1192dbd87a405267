//! What a doctor found, as text for a person and as one JSON object: the same sentences in both.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    advice::evidence,
    json::{SCHEMA, number, time},
    wrap::wrap,
};
use crate::advise::{
    advice::Severity,
    cause::Cause,
    examination::{Section, Sign},
};

/// Sentences stand behind their mark, this far in.
const INDENT: usize = 3;

/// What was found, where and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// When, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// The network namespace, by inode number.
    pub netns: u32,
    /// What it is called; `None` if that is not known.
    pub netns_name: Option<String>,
    /// How long was looked, in seconds; `None` if that was not possible.
    pub looked_s: Option<f64>,
    /// Why nothing was looked at; `None` if something was.
    pub why_no_look: Option<String>,
    /// Why the table fills; `None` if nothing was looked at.
    pub cause: Option<Cause>,
    /// What each check found.
    pub sections: Vec<Section>,
}

/// The line of `doctor --json`, without the line's end.
pub fn json(report: &Report) -> String {
    json!({
        "schema": SCHEMA,
        "ts": time(report.wall_ns),
        "netns": report.netns,
        "netns_name": report.netns_name,
        "looked_s": report.looked_s.map(number),
        "why_no_look": report.why_no_look,
        "cause": report.cause.map(Cause::name),
        "checks": report.sections.iter().map(section).collect::<Vec<Value>>(),
    })
    .to_string()
}

fn section(section: &Section) -> Value {
    json!({
        "id": section.id,
        "what": section.what,
        "signs": section.signs.iter().map(sign).collect::<Vec<Value>>(),
    })
}

fn sign(sign: &Sign) -> Value {
    json!({
        "severity": sign.severity.map(Severity::name),
        "sentence": sign.sentence,
        "evidence": evidence(&sign.evidence),
    })
}

/// A heading for each check, and under it what it found; each line ends with a newline.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let name = report.netns_name.as_deref().unwrap_or("self");
    let looked = match report.looked_s {
        Some(seconds) => format!("looked for {seconds:.0} s"),
        None => "not looked at".to_owned(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}  {name} ({})  {looked}", time(report.wall_ns), report.netns);
    let _ =
        writeln!(text, "!! connections are lost, ! it will fail or costs too much, ? not known");
    for section in &report.sections {
        let _ = writeln!(text, "\n{}", section.what.to_uppercase());
        for sign in &section.signs {
            wrap(&mut text, mark(sign.severity), INDENT, &sign.sentence);
        }
    }
    text
}

fn mark(severity: Option<Severity>) -> &'static str {
    match severity {
        None => "?",
        Some(Severity::Info) => "",
        Some(Severity::Warning) => "!",
        Some(Severity::Critical) => "!!",
    }
}

#[cfg(test)]
pub(crate) mod sample {
    use super::*;
    use crate::advise::advice::Datum;

    /// A report with a sign of each severity, of a look.
    pub(crate) fn report() -> Report {
        let sign = |severity, sentence: &str, evidence| Sign {
            severity,
            sentence: sentence.to_owned(),
            evidence,
        };
        let full = "this namespace: 65536 of 65536 entries (100 %), 65536 buckets; 410 packets/s are refused an entry now";
        Report {
            wall_ns: 1_795_442_400_000_000_000,
            netns: 4_026_532_240,
            netns_name: Some("gateway".to_owned()),
            looked_s: Some(2.0),
            why_no_look: None,
            cause: Some(Cause::Growth),
            sections: vec![
                Section {
                    id: "tables",
                    what: "tables",
                    signs: vec![
                        sign(
                            Some(Severity::Critical),
                            full,
                            vec![Datum::count("entries", 65_536, "nf_conntrack_count")],
                        ),
                        sign(Some(Severity::Info), "namespace b: 1 of 65536 entries (0 %)", vec![]),
                    ],
                },
                Section {
                    id: "switches",
                    what: "switches",
                    signs: vec![
                        sign(Some(Severity::Warning), "log_invalid = 255", vec![]),
                        sign(None, "tcp_loose cannot be read", vec![]),
                    ],
                },
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::wrap::WIDTH;

    #[test]
    fn a_report_reads_in_eighty_columns() {
        let text = text(&sample::report());
        assert_eq!(
            text,
            "\
2026-11-23T14:00:00.000Z  gateway (4026532240)  looked for 2 s
!! connections are lost, ! it will fail or costs too much, ? not known

TABLES
!! this namespace: 65536 of 65536 entries (100 %), 65536 buckets; 410 packets/s
   are refused an entry now
   namespace b: 1 of 65536 entries (0 %)

SWITCHES
!  log_invalid = 255
?  tcp_loose cannot be read
"
        );
        assert!(text.lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut report = sample::report();
        report.looked_s = None;
        report.cause = None;
        let line: Value = serde_json::from_str(&json(&report)).unwrap();
        assert!(line["looked_s"].is_null() && line["cause"].is_null(), "{line}");
        assert!(line["checks"][1]["signs"][1]["severity"].is_null(), "{line}");
        assert_eq!(line["checks"][0]["signs"][0]["severity"], "critical", "{line}");
        assert_eq!(line["checks"][0]["signs"][0]["evidence"]["entries"]["value"], 65_536, "{line}");
    }
}
