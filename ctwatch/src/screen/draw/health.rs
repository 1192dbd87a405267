//! Whether the numbers can be trusted: how they come about, what is lost, how far they are from the kernel's, what they
//! cost.

use super::page::{PageLine, sentence};
use crate::{
    advise::wording,
    model::{
        fields::{self, Field, Value},
        snapshot::Snapshot,
    },
    output::json::time,
    screen::{state::State, style::Role},
};

const INDENT: usize = 24;

/// All of it.
pub(super) fn page(state: &State, width: usize) -> Vec<PageLine> {
    let Some(snapshot) = state.snapshot() else {
        return vec![PageLine::plain("nothing is known yet")];
    };
    let mut page = hooks(snapshot, width);
    page.extend(trust(snapshot, width));
    page.push(PageLine::empty());
    page.push(PageLine::new(Role::Heading, "COST"));
    let cost = &state.cost;
    let memory = cost.memory_bytes.map_or_else(|| "-".to_owned(), wording::bytes);
    let used = format!("{} of a processor, {memory} of memory", wording::percent(cost.cpu));
    page.extend(labelled("this program", &used, width));
    if let Some(walked) = &snapshot.census {
        let age = wording::duration(walked.age_s);
        let said = format!("{age} ago, of {} entries", walked.census.entries);
        page.extend(labelled("last walk", &said, width));
    }
    page.push(PageLine::empty());
    page.push(PageLine::new(Role::Heading, "THE KERNEL'S OWN COUNTERS"));
    page.extend(numbers(fields::KERNEL, &snapshot.kernel, width, Role::Plain));
    page
}

fn hooks(snapshot: &Snapshot, width: usize) -> Vec<PageLine> {
    let mode = &snapshot.mode;
    let mut page = vec![PageLine::new(Role::Heading, "HOOKS")];
    for (name, rung) in [
        ("entries asked for", mode.alloc),
        ("refusals", mode.early_drop),
        ("ends", mode.free),
        ("garbage collector", mode.gc),
        ("deletions", mode.deletion),
        ("failed insertions", mode.confirm.rung()),
    ] {
        page.extend(labelled(name, rung.name(), width));
    }
    if let Some(since) = mode.attached_at_wall_ns {
        page.extend(labelled("since", &time(since), width));
    }
    for missing in &mode.degraded {
        page.extend(sentence(width, Role::Warning, "!", 2, missing));
    }
    for why in mode.why_not_higher.iter().chain(&mode.pins_module) {
        page.extend(sentence(width, Role::Faint, "", 2, why));
    }
    page
}

fn trust(snapshot: &Snapshot, width: usize) -> Vec<PageLine> {
    let mut page = vec![PageLine::empty(), PageLine::new(Role::Heading, "LOSS AND DRIFT")];
    page.extend(numbers(fields::LOSS, &snapshot.loss, width, Role::Warning));
    let difference = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let drift = difference(snapshot.drift_entries);
    page.extend(labelled(
        "drift",
        &format!("{drift}  entries that sources hold beyond nf_conntrack_count"),
        width,
    ));
    let witness = difference(snapshot.witness.map(|witness| witness.difference));
    page.extend(labelled(
        "witness",
        &format!("{witness}  counts that rows have beyond the per-CPU totals"),
        width,
    ));
    page
}

/// Each number with what it means; those that are not 0 stand out.
fn numbers<T>(table: &[Field<T>], of: &T, width: usize, role: Role) -> Vec<PageLine> {
    let mut page = Vec::new();
    for field in table {
        let (number, is_some) = match (field.value)(of) {
            Value::Count(count) => (count.to_string(), count > 0),
            Value::Difference(difference) => (difference.to_string(), difference != 0),
            Value::Real(real) => (format!("{real:.1}"), real != 0.0),
            Value::Unknown => ("-".to_owned(), false),
        };
        let role = if is_some { role } else { Role::Plain };
        page.extend(sentence(
            width,
            role,
            field.name,
            INDENT,
            &format!("{number}  {}", field.help),
        ));
    }
    page
}

fn labelled(name: &str, said: &str, width: usize) -> Vec<PageLine> {
    sentence(width, Role::Plain, name, INDENT, said)
}
