//! From snapshots to lines of events, and to what is said of those that are in no line.

use std::io::{self, IsTerminal as _};

use super::view::{Form, Scope};
use crate::{
    model::{
        event_filter::{Filter, Verdict},
        snapshot::Snapshot,
        told::Told,
    },
    output::{
        event_line::{self, Colours},
        json,
    },
};

/// What is suppressed or lost is told so often while it grows, by the clock of the snapshots.
const SUMMARY_INTERVAL_NS: i128 = 10_000_000_000;

/// What is shown of events, and how.
#[derive(Debug)]
pub struct EventLines {
    filter: Filter,
    form: Form,
    scope: Scope,
    colours: Colours,
    namespaces: Vec<Summed>,
}

#[derive(Debug)]
struct Summed {
    told: Told,
    /// When it was summed up last, and what was in no line then.
    last_wall_ns: i128,
    untold: u64,
}

/// What is to be printed and said.
#[derive(Debug, Default)]
pub struct Lines {
    /// On standard output.
    pub printed: String,
    /// On standard error, a sentence each.
    pub said: Vec<String>,
}

impl EventLines {
    /// Shows what a filter lets through.
    pub fn new(filter: Filter, form: Form, scope: Scope) -> Self {
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        let colours = match form {
            Form::Text if io::stdout().is_terminal() && !wants_none => Colours::Some,
            Form::Text | Form::Json => Colours::None,
        };
        Self { filter, form, scope, colours, namespaces: Vec::new() }
    }

    /// The lines of a snapshot.
    pub fn take(&mut self, snapshot: &Snapshot) -> Lines {
        let Self { filter, form, scope, colours, namespaces } = self;
        let (form, scope, colours) = (*form, *scope, *colours);
        let place = namespaces.iter().position(|summed| summed.told.netns == snapshot.netns);
        let place = place.unwrap_or_else(|| {
            let told = Told::new(snapshot.netns, filter.kinds);
            namespaces.push(Summed { told, last_wall_ns: snapshot.wall_ns, untold: 0 });
            namespaces.len() - 1
        });
        let mut lines = Lines::default();
        let Some(summed) = namespaces.get_mut(place) else { return lines };
        summed.told.follow(snapshot);
        let name = snapshot.netns_name.as_deref();
        for event in &snapshot.events {
            match filter.judge(event) {
                Verdict::Told => summed.told.count(event),
                Verdict::PortUnknown => {
                    summed.told.port_unknown += event.times();
                    continue;
                }
                Verdict::Other => continue,
            }
            lines.printed += &match (form, scope) {
                (Form::Json, _) => json::event(event, name) + "\n",
                (Form::Text, Scope::AllNamespaces) => event_line::text_in(event, name, colours),
                (Form::Text, Scope::OneNamespace) => event_line::text(event, colours),
            };
        }
        let is_due = snapshot.wall_ns - summed.last_wall_ns >= SUMMARY_INTERVAL_NS;
        if is_due && summed.told.untold() > summed.untold {
            summed.last_wall_ns = snapshot.wall_ns;
            summed.untold = summed.told.untold();
            sum_up(&summed.told, form, scope, &mut lines);
        }
        lines
    }

    /// What is to be said in the end.
    pub fn end(&self) -> Lines {
        let mut lines = Lines::default();
        self.namespaces
            .iter()
            .for_each(|summed| sum_up(&summed.told, self.form, self.scope, &mut lines));
        lines
    }
}

fn sum_up(told: &Told, form: Form, scope: Scope, lines: &mut Lines) {
    if form == Form::Json {
        lines.printed += &(json::told(told) + "\n");
    }
    let where_ = match (scope, &told.netns_name) {
        (Scope::OneNamespace, _) => String::new(),
        (Scope::AllNamespaces, name) => {
            format!("{} (netns {}): ", name.as_deref().unwrap_or("unknown"), told.netns)
        }
    };
    lines.said.push(where_ + &event_line::told(told));
}
