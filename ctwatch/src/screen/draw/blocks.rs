//! Who is kept out or capped, one a line.

use ratatui::layout::Rect;

use super::{
    Canvas,
    page::{PageLine, sentence},
};
use crate::{
    blocklist::{note::Note, ruleset::element},
    change::firewall::{caps::Capped, listing::Dropped},
    output::blocks::{Report, Row},
    screen::{state::State, style::Role},
};

/// Draws the visible ones.
pub(super) fn draw(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    let width = usize::from(area.width);
    let heading = format!(
        "{:<24} {:>9} {:>8} {:>10} {:>7}  {}",
        "KEPT OUT", "ENTRIES", "LEFT", "DROPPED", "ENDED", "WHY"
    );
    canvas.bar(area, 0, Role::Bar, &heading);
    let lines = match &state.blocked.last {
        None => vec![PageLine::plain("listing")],
        Some(Err(why)) => sentence(width, Role::Warning, "", 0, why),
        Some(Ok(report)) => {
            let mut lines: Vec<PageLine> =
                rows(report).into_iter().skip(state.blocks.top).collect();
            if lines.is_empty() {
                let hint = "Nobody. b on a source keeps it out; 'ctwatch blocklist' lists all who should be.";
                lines.extend(sentence(width, Role::Faint, "", 0, hint));
            }
            for problem in &report.problems {
                lines.extend(sentence(width, Role::Warning, "! ", 2, problem));
            }
            lines
        }
    };
    let chosen = (state.kept_out().len() > state.blocks.at)
        .then(|| state.blocks.at.saturating_sub(state.blocks.top) + 1);
    for (number, line) in (1..area.height).zip(&lines) {
        if Some(usize::from(number)) == chosen {
            let text: String = line.0.iter().map(|(_, words)| words.as_str()).collect();
            canvas.bar(area, number, Role::Chosen, &text);
        } else {
            canvas.line(area, number, &line.0);
        }
    }
}

fn rows(report: &Report) -> Vec<PageLine> {
    let blocked = report.rows.iter().map(|row| {
        let Row { block, effect, verdict } = row;
        let ended = effect.as_ref().and_then(|effect| effect.ended_entries);
        let dropped = block.dropped.map(|Dropped { packets, .. }| packets);
        let mut why = why(block.note.as_ref());
        let mut role = Role::Plain;
        if verdict.is_effective() == Some(false) {
            role = Role::Warning;
            why = format!("without effect; {why}");
        }
        line(role, &element(&block.network), "none", block.left_s, dropped, ended, &why)
    });
    let capped = report.caps.iter().map(|cap| {
        let Capped { network, entries_max, left_s, dropped, note, .. } = cap;
        let most = format!("<= {entries_max}");
        let why = why(note.as_ref());
        line(Role::Plain, &element(network), &most, *left_s, Some(dropped.packets), None, &why)
    });
    blocked.chain(capped).collect()
}

fn line(
    role: Role,
    source: &str,
    entries: &str,
    left_s: Option<u64>,
    dropped: Option<u64>,
    ended: Option<u64>,
    why: &str,
) -> PageLine {
    let left = left_s.map_or_else(|| "for ever".to_owned(), |left_s| format!("{left_s} s"));
    let count = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let (dropped, ended) = (count(dropped), count(ended));
    let text = format!("{source:<24} {entries:>9} {left:>8} {dropped:>10} {ended:>7}  {why}");
    PageLine::new(role, text)
}

fn why(note: Option<&Note>) -> String {
    match note {
        None => "by somebody else than ctwatch".to_owned(),
        Some(note) if note.why.is_empty() => format!("by {}", note.by),
        Some(note) => note.why.clone(),
    }
}
