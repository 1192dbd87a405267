//! Why the table fills, what helps, and what would not.

use super::page::{PageLine, sentence};
use crate::{
    advise::{
        Diagnosis,
        advice::{Advice, Severity},
    },
    screen::{state::State, style::Role},
};

const INDENT: usize = 3;

/// The diagnosis of the last seconds.
pub(super) fn page(state: &State, width: usize) -> Vec<PageLine> {
    match &state.advised.last {
        None => vec![PageLine::plain("looking for advice")],
        Some(Err(why)) => sentence(width, Role::Warning, "", 0, why),
        Some(Ok(diagnosis)) => {
            let mut page = self::diagnosis(diagnosis, width);
            let age = format!("{} s ago; r looks anew", state.advised.age_s);
            page.push(PageLine::empty());
            page.push(PageLine::new(Role::Faint, age));
            page
        }
    }
}

fn diagnosis(diagnosis: &Diagnosis, width: usize) -> Vec<PageLine> {
    let cause = format!("CAUSE: {}", diagnosis.finding.cause.name());
    let mut page = vec![PageLine::new(Role::Heading, cause)];
    page.extend(sentence(width, Role::Plain, "", INDENT, &diagnosis.finding.explanation));
    for (number, advice) in (1..).zip(&diagnosis.advice) {
        page.push(PageLine::empty());
        page.extend(self::advice(number, advice, width));
    }
    if diagnosis.advice.is_empty() {
        page.extend([PageLine::empty(), PageLine::new(Role::Heading, "NO ADVICE")]);
    }
    if !diagnosis.refused.is_empty() {
        page.extend([PageLine::empty(), PageLine::new(Role::Heading, "NOT ADVISED")]);
    }
    for refused in &diagnosis.refused {
        page.push(PageLine::plain(format!("{:INDENT$}{}", "", refused.rule)));
        page.extend(sentence(width, Role::Faint, "", 2 * INDENT, &refused.why));
    }
    page
}

fn advice(number: usize, advice: &Advice, width: usize) -> Vec<PageLine> {
    let heading = format!("{number}. {} ({})", advice.id, advice.severity.name());
    let mut page = vec![PageLine::new(role(advice.severity), heading)];
    let mut add = |label: &str, said: &str| {
        page.extend(sentence(width, Role::Plain, &format!("{:INDENT$}{label}", ""), 9, said));
    };
    add("do", &advice.what);
    add("why", &advice.why);
    for change in &advice.changes {
        add("change", &format!("{}: {} -> {}", change.key, change.from, change.to));
    }
    add("risk", &advice.risk);
    add("until", &advice.until);
    let commands: Vec<String> = if advice.changes.is_empty() {
        advice.commands.clone()
    } else {
        vec![format!("ctwatch apply {}", advice.id)]
    };
    // Commands are never broken.
    page.extend(
        commands.into_iter().map(|command| PageLine::new(Role::Heading, format!("   {command}"))),
    );
    page
}

fn role(severity: Severity) -> Role {
    match severity {
        Severity::Info => Role::Heading,
        Severity::Warning => Role::Warning,
        Severity::Critical => Role::Critical,
    }
}
