//! `ctwatch replay`: what was recorded, as if it were seen now.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use super::{
    event_lines::EventLines,
    events,
    look::{self, Interrupts},
    origin::Origin,
    view::{Form, Scope, View},
    watch,
};
use crate::{
    cli::ReplayArguments,
    exit::CommandError,
    model::{
        event::{Kind, Kinds},
        event_filter::Filter,
    },
    output::json::time,
    recording::player::{Player, Speed},
};

/// Sources that a table lists unless told otherwise, as `watch` does.
const LISTED_IN_TEXT: usize = 20;

/// Replays until the end of the recording, a signal, or the output is closed; then says what is missing.
///
/// # Errors
///
/// If it is no recording, or cannot be read.
pub async fn run(arguments: &ReplayArguments) -> Result<(), CommandError> {
    let by_default = if io::stdout().is_terminal() { Speed::Times(1.0) } else { Speed::Max };
    let speed = arguments.speed.unwrap_or(by_default);
    let player = open(&arguments.file, speed)?;
    let (form, scope) = (Form::of_json(arguments.json), scope_of(&player));
    let recorded = recorded_kinds(&player);
    let mut origin = Origin::Recording(Box::new(player));
    let mut interrupts = Interrupts::new()?;
    let shown = if arguments.events {
        let lines = EventLines::new(Filter::of(recorded), form, scope);
        events::show(&mut origin, lines, recorded, None, &mut interrupts).await
    } else {
        let listed_sources = arguments.top.or((!arguments.json).then_some(LISTED_IN_TEXT));
        let view = View { form, scope, is_once: false, listed_sources };
        watch::show(&mut origin, view, None, &mut interrupts).await
    };
    say_defects(&origin);
    shown
}

/// Opens a recording and says what it is.
///
/// # Errors
///
/// If it is none, or cannot be read.
pub(super) fn open(file: &Path, speed: Speed) -> Result<Player, CommandError> {
    let player =
        Player::open(file, speed).map_err(|error| CommandError::Usage(error.to_string()))?;
    let beginning = player.parts().beginning();
    look::say(&format!(
        "recorded by {} on {} (Linux {}) from {} on",
        beginning.program,
        beginning.host,
        beginning.kernel,
        time(beginning.begun_wall_ns)
    ));
    Ok(player)
}

/// Which kinds of events a recording has; up to version 1 these were refusals alone, and it was not said.
pub(super) fn recorded_kinds(player: &Player) -> Kinds {
    let names = &player.parts().beginning().event_kinds;
    if names.is_empty() {
        return Kinds::REFUSED;
    }
    let is_recorded = |kind: &Kind| names.iter().any(|name| name == kind.name());
    Kinds::of(&Kind::ALL.into_iter().filter(is_recorded).collect::<Vec<_>>())
}

/// Of whom a recording is.
pub(super) fn scope_of(player: &Player) -> Scope {
    if player.parts().beginning().is_of_all_namespaces {
        Scope::AllNamespaces
    } else {
        Scope::OneNamespace
    }
}

/// Says what is missing of a recording that has been played to its end.
pub(super) fn say_defects(origin: &Origin) {
    if let Origin::Recording(player) = origin
        && player.parts().is_over()
    {
        player.parts().defects().iter().for_each(|defect| look::say(defect));
    }
}
