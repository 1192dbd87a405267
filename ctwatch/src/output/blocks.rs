//! Who is kept out or capped, and what that did: for a person, and as JSON (docs/blocks.schema.json).

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::json::{SCHEMA, number, time};
use crate::{
    blocklist::{note::Note, ruleset::element},
    change::firewall::{
        caps::Capped,
        effect::{Effect, Seen, Verdict},
        listing::{Blocked, Dropped},
    },
};

const NS_PER_S: i128 = 1_000_000_000;

/// What is told.
#[derive(Clone, Debug)]
pub struct Report {
    /// When, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// The network namespace, by inode number.
    pub netns: u32,
    /// What it is called.
    pub netns_name: Option<String>,
    /// Who is blocked.
    pub rows: Vec<Row>,
    /// Who is capped.
    pub caps: Vec<Capped>,
    /// What keeps blocks or caps from working, or is somebody else's: sentences.
    pub problems: Vec<String>,
}

/// One block.
#[derive(Clone, Debug)]
pub struct Row {
    /// As the kernel has it.
    pub block: Blocked,
    /// What is remembered of its effect.
    pub effect: Option<Effect>,
    /// Whether it has one.
    pub verdict: Verdict,
}

/// One JSON object, without the line's end.
pub fn json(report: &Report) -> String {
    json!({
        "schema": SCHEMA,
        "ts": time(report.wall_ns),
        "netns": report.netns,
        "netns_name": report.netns_name,
        "blocks": report.rows.iter().map(|row| row_object(row, report.wall_ns)).collect::<Vec<Json>>(),
        "caps": report.caps.iter().map(|cap| cap_object(cap, report.wall_ns)).collect::<Vec<Json>>(),
        "problems": report.problems,
    })
    .to_string()
}

fn row_object(row: &Row, now_ns: i128) -> Json {
    let Row { block, effect, verdict } = row;
    let note = block.note.as_ref();
    let seen = |of: fn(&Effect) -> Option<Seen>| {
        effect.as_ref().and_then(of).map(|seen| seen_object(&seen))
    };
    json!({
        "source": element(&block.network),
        "since": note.map(|note| since(note.since_s)),
        "until": block.left_s.map(|left_s| until(now_ns, left_s)),
        "left_s": block.left_s,
        "by": note.map(|note| note.by.as_str()),
        "why": note.map(|note| note.why.as_str()).filter(|why| !why.is_empty()),
        "dropped_packets": block.dropped.map(|dropped| dropped.packets),
        "dropped_bytes": block.dropped.map(|dropped| dropped.bytes),
        "ended_entries": effect.as_ref().and_then(|effect| effect.ended_entries),
        "together": effect.as_ref().map(|effect| effect.together),
        "before": seen(|effect| effect.before),
        "after": seen(|effect| effect.after),
        "has_effect": verdict.is_effective(),
        "explanation": explanation(*verdict),
    })
}

fn cap_object(cap: &Capped, now_ns: i128) -> Json {
    let note = cap.note.as_ref();
    json!({
        "source": element(&cap.network),
        "entries_max": cap.entries_max,
        "since": note.map(|note| since(note.since_s)),
        "until": cap.left_s.map(|left_s| until(now_ns, left_s)),
        "left_s": cap.left_s,
        "by": note.map(|note| note.by.as_str()),
        "why": note.map(|note| note.why.as_str()).filter(|why| !why.is_empty()),
        "dropped_packets": cap.dropped.packets,
        "dropped_bytes": cap.dropped.bytes,
    })
}

fn seen_object(seen: &Seen) -> Json {
    json!({
        "looked_s": number(seen.seconds),
        "refused_of_others_per_s": seen.refused_of_others_per_s.map(number),
        "entries_of_sources": seen.entries_of_sources,
        "entries": seen.entries,
        "limit": seen.limit,
    })
}

fn since(since_s: u64) -> String {
    time(i128::from(since_s) * NS_PER_S)
}

/// The kernel tells only how much longer, in whole seconds.
fn until(now_ns: i128, left_s: u64) -> String {
    time((now_ns / NS_PER_S + i128::from(left_s)) * NS_PER_S)
}

fn explanation(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Effective | Verdict::Unknown => None,
        Verdict::DropsNothing => Some(
            "without effect: nothing of it has come since; if it is not the one, let it in again (ctwatch unblock) and ask 'ctwatch advise'",
        ),
        Verdict::OthersRefusedStill => Some(
            "without effect: others are refused as often as before; let it in again (ctwatch unblock) and ask 'ctwatch advise' what else fills the table",
        ),
    }
}

/// For a person.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    if report.rows.is_empty() && report.caps.is_empty() {
        text.push_str("nobody is blocked or capped\n");
    }
    for Row { block, effect, verdict } in &report.rows {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}  {}",
            element(&block.network),
            times(block.note.as_ref(), block.left_s, report.wall_ns)
        );
        let _ = writeln!(text, "    {}", by_whom(block.note.as_ref()));
        let _ = writeln!(text, "    {}", done(block, effect.as_ref()));
        if let Some(effect) = effect {
            others(&mut text, effect);
        }
        if let Some(explanation) = explanation(*verdict) {
            let _ = writeln!(text, "    {explanation}");
        }
    }
    for cap in &report.caps {
        let Capped { network, entries_max, dropped, .. } = cap;
        let times = times(cap.note.as_ref(), cap.left_s, report.wall_ns);
        let _ = writeln!(text, "{}  at most {entries_max} entries  {times}", element(network));
        let _ = writeln!(text, "    {}", by_whom(cap.note.as_ref()));
        let Dropped { packets, bytes } = dropped;
        let _ = writeln!(text, "    dropped {packets} packets ({bytes} bytes) beyond that");
    }
    for problem in &report.problems {
        let _ = writeln!(text, "! {problem}");
    }
    text
}

fn by_whom(note: Option<&Note>) -> String {
    match note {
        None => "by somebody else than ctwatch".to_owned(),
        Some(note) if note.why.is_empty() => format!("by {}", note.by),
        Some(note) => format!("by {}: {}", note.by, note.why),
    }
}

fn times(note: Option<&Note>, left_s: Option<u64>, now_ns: i128) -> String {
    let since = note.map(|note| format!("since {} ", since(note.since_s)));
    let until = left_s.map_or_else(
        || "for ever".to_owned(),
        |left_s| format!("until {} ({left_s} s left)", until(now_ns, left_s)),
    );
    format!("{}{until}", since.unwrap_or_default())
}

fn done(block: &Blocked, effect: Option<&Effect>) -> String {
    let dropped = block.dropped.map_or_else(
        || "packets dropped are not counted".to_owned(),
        |dropped| format!("dropped {} packets ({} bytes)", dropped.packets, dropped.bytes),
    );
    let ended = effect.and_then(|effect| Some((effect.ended_entries?, effect.together)));
    match ended {
        None => format!("{dropped}, entries ended: not known"),
        Some((ended, 0 | 1)) => format!("{dropped}, ended {ended} entries"),
        Some((ended, together)) => {
            format!("{dropped}, ended {ended} entries of the {together} that were blocked together")
        }
    }
}

fn others(text: &mut String, effect: &Effect) {
    if effect.before.is_none() && effect.after.is_none() {
        return;
    }
    let mut line = |name: &str, of: fn(&Seen) -> Option<String>| {
        let side = |seen: Option<Seen>| {
            seen.as_ref().and_then(of).unwrap_or_else(|| "not known".to_owned())
        };
        let (before, after) = (side(effect.before), side(effect.after));
        let _ = writeln!(text, "    {name}: {before} before, {after} after");
    };
    line("others refused", |seen| seen.refused_of_others_per_s.map(|rate| format!("{rate:.1}/s")));
    line("entries it holds", |seen| seen.entries_of_sources.map(|entries| entries.to_string()));
    line("entries of all", |seen| {
        let limit = seen.limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        Some(format!("{}{limit}", seen.entries))
    });
}

#[cfg(test)]
pub(crate) mod sample {
    use super::*;

    /// A block that has everything, and one that has nothing.
    pub(crate) fn report() -> Report {
        let seen = |refused| {
            Some(Seen {
                seconds: 1.25,
                refused_of_others_per_s: Some(refused),
                entries_of_sources: Some(1900),
                entries: 2000,
                limit: Some(2000),
            })
        };
        let network: ipnet::IpNet = "10.0.1.66/32".parse().unwrap();
        let effect = Effect {
            boot: "b".to_owned(),
            netns: 4_026_531_840,
            network,
            since_s: 1_700_000_000,
            together: 1,
            ended_entries: Some(1900),
            before: seen(40.0),
            after: seen(39.5),
        };
        let note = Note { since_s: 1_700_000_000, by: "root".to_owned(), why: "flood".to_owned() };
        let block = Blocked {
            network,
            left_s: Some(590),
            note: Some(note),
            dropped: Some(Dropped { packets: 1234, bytes: 56_789 }),
        };
        let foreign = Blocked {
            network: "2001:db8::/64".parse().unwrap(),
            left_s: None,
            note: None,
            dropped: None,
        };
        Report {
            wall_ns: 1_700_000_010_000_000_000,
            netns: 4_026_531_840,
            netns_name: Some("gateway".to_owned()),
            rows: vec![
                Row { block, effect: Some(effect), verdict: Verdict::OthersRefusedStill },
                Row { block: foreign, effect: None, verdict: Verdict::Unknown },
            ],
            caps: vec![Capped {
                network: "10.0.2.0/24".parse().unwrap(),
                entries_max: 500,
                left_s: Some(590),
                note: Some(Note {
                    since_s: 1_700_000_000,
                    by: "root".to_owned(),
                    why: String::new(),
                }),
                dropped: Dropped { packets: 7, bytes: 196 },
                handle: 9,
            }],
            problems: vec!["the chain is missing".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_told_with_what_it_did() {
        let text = text(&sample::report());
        for line in [
            "10.0.1.66  since 2023-11-14T22:13:20.000Z until 2023-11-14T22:23:20.000Z (590 s left)",
            "    by root: flood",
            "    dropped 1234 packets (56789 bytes), ended 1900 entries",
            "    others refused: 40.0/s before, 39.5/s after",
            "    entries of all: 2000 of 2000 before, 2000 of 2000 after",
            "2001:db8::/64  for ever",
            "    by somebody else than ctwatch",
            "    packets dropped are not counted, entries ended: not known",
            "10.0.2.0/24  at most 500 entries  since 2023-11-14T22:13:20.000Z until 2023-11-14T22:23:20.000Z (590 s left)",
            "    by root",
            "    dropped 7 packets (196 bytes) beyond that",
            "! the chain is missing",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
        assert!(text.contains("without effect: others are refused"), "{text}");
        let nobody =
            Report { rows: Vec::new(), caps: Vec::new(), problems: Vec::new(), ..sample::report() };
        assert_eq!(super::text(&nobody), "nobody is blocked or capped\n");
    }
}
