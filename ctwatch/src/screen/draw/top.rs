//! The lines at the top: where and when, how full, what comes and goes; and the names of the tabs.

use ratatui::layout::Rect;

use super::Canvas;
use crate::{
    advise::wording,
    model::snapshot::Snapshot,
    output::json::time,
    screen::{
        columns::rate,
        rows::RollUp,
        state::{Motion, State},
        style::Role,
        tab::{TABS, Tab},
    },
};

/// From this share of the limit on it is time to do something.
const WARNING: f64 = 0.75;
/// And from this on it is late.
const CRITICAL: f64 = 0.9;
/// Seconds without an interval, beyond the time that one takes, after which that is said.
const SILENT_S: f64 = 2.0;

/// Which namespace and when; what is unusual about what is shown; and how it is looked at, if there is room.
pub(super) fn heading(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    let mut words = vec![(Role::Heading, "ctwatch".to_owned())];
    let snapshot = state.snapshot();
    match snapshot {
        Some(snapshot) => {
            let name = snapshot.netns_name.as_deref().unwrap_or("?");
            let time = time(snapshot.wall_ns);
            let clock = time.get(11..19).unwrap_or_default();
            words.push((Role::Plain, format!(" {name} {clock}Z")));
        }
        None => words.push((Role::Plain, " waiting for the first numbers".to_owned())),
    }
    if state.motion == Motion::Paused {
        words.push((Role::Plain, " ".to_owned()));
        words.push((Role::Bar, "PAUSED".to_owned()));
    }
    if f64::from(state.silent_s) > state.interval.as_secs_f64() + SILENT_S {
        words.push((Role::Critical, format!(" no numbers for {} s", state.silent_s)));
    }
    if let Some(source) = state.source.as_ref().filter(|_| state.tab == Tab::Sources) {
        words.push((Role::Heading, format!(" {}", source.name())));
    }
    if !state.filter_text.is_empty() {
        words.push((Role::Warning, format!(" only {}", state.filter_text)));
    }
    if state.arrangement.roll_up != RollUp::None {
        words.push((Role::Warning, format!(" {}", state.arrangement.roll_up.name())));
    }
    if let Some(snapshot) = snapshot {
        words.push((Role::Plain, format!(" {}", snapshot.mode.alloc.name())));
        if !snapshot.mode.degraded.is_empty() {
            words.push((Role::Warning, " degraded".to_owned()));
        }
    }
    words.push((Role::Plain, format!(" {:?}", state.interval)));
    canvas.line(area, 0, &words);
}

/// How full the table is: numbers, and a bar.
pub(super) fn gauge(snapshot: &Snapshot, canvas: &mut Canvas<'_>, area: Rect) {
    let table = &snapshot.table;
    let Some((limit, utilization)) = table.limit.zip(table.utilization) else {
        let text = format!("entries {}, no limit", table.entries);
        return canvas.line(area, 0, &[(Role::Heading, text)]);
    };
    let role = role(utilization);
    let numbers = format!("entries {}/{limit} {:.0} % ", table.entries, utilization * 100.0);
    let width = usize::from(area.width).saturating_sub(numbers.chars().count() + 2);
    let eighths = (utilization.clamp(0.0, 1.0) * (width * 8) as f64) as usize;
    let bar: String =
        (0..width)
            .map(|cell| {
                if cell * 8 + 4 <= eighths {
                    canvas.looks.block(8)
                } else {
                    canvas.looks.unfilled()
                }
            })
            .collect();
    let words = [
        (role, numbers),
        (Role::Plain, "[".to_owned()),
        (role, bar),
        (Role::Plain, "]".to_owned()),
    ];
    canvas.line(area, 0, &words);
}

fn role(utilization: f64) -> Role {
    match utilization {
        share if share >= CRITICAL => Role::Critical,
        share if share >= WARNING => Role::Warning,
        _ => Role::Good,
    }
}

/// What comes and goes, what is urgent first.
pub(super) fn rates(snapshot: &Snapshot, canvas: &mut Canvas<'_>, area: Rect) {
    let (table, totals) = (&snapshot.table, &snapshot.totals);
    let mut words = Vec::new();
    let refused = totals.refused_per_s;
    let refusing = refused.is_some_and(|refused| refused > 0.0);
    let role = if refusing { Role::Critical } else { Role::Plain };
    words.push((role, format!("refused {}/s", rate(refused))));
    if let Some(seconds) = table.time_to_full_s {
        let role = if seconds < 600.0 { Role::Critical } else { Role::Plain };
        words.push((role, format!("  full in {}", wording::duration(seconds))));
    }
    if let Some(growth) = table.growth_per_s {
        words.push((Role::Plain, format!("  {growth:+.0}/s")));
    }
    words.push((Role::Plain, format!("  new {}/s", rate(totals.new_per_s))));
    for (name, number) in
        [("refused", totals.refused), ("evicted", totals.evicted), ("failed", totals.insert_failed)]
    {
        if let Some(number) = number.filter(|number| *number > 0) {
            words.push((Role::Plain, format!("  {name} {number}")));
        }
    }
    canvas.line(area, 0, &words);
}

/// The names of the tabs, as long as there is room for.
pub(super) fn tabs(state: &State, canvas: &mut Canvas<'_>, area: Rect) {
    let titles = || (1..).zip(TABS);
    let long: usize = titles().map(|(_, title)| title.long.len() + 3).sum();
    let is_wide = usize::from(area.width) >= long;
    let words: Vec<(Role, String)> = titles()
        .flat_map(|(number, title)| {
            let name = if is_wide { title.long } else { title.short };
            let role = if title.tab == state.tab { Role::Bar } else { Role::Plain };
            [(role, format!("{number} {name}")), (Role::Plain, " ".to_owned())]
        })
        .collect();
    canvas.line(area, 0, &words);
}
