//! `ctwatch replay`: what was recorded, as if it were seen now.

use std::io::{self, IsTerminal as _};

use super::{
    look::{self, Interrupts},
    origin::Origin,
    view::{Form, Part, Scope, View},
    watch,
};
use crate::{
    cli::ReplayArguments,
    exit::CommandError,
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
    let player = Player::open(&arguments.file, speed)
        .map_err(|error| CommandError::Usage(error.to_string()))?;
    let beginning = player.parts().beginning();
    look::say(&format!(
        "recorded by {} on {} (Linux {}) from {} on",
        beginning.program,
        beginning.host,
        beginning.kernel,
        time(beginning.begun_wall_ns)
    ));
    let view = View {
        part: if arguments.events { Part::Events } else { Part::Table },
        form: Form::of_json(arguments.json),
        scope: if beginning.is_of_all_namespaces {
            Scope::AllNamespaces
        } else {
            Scope::OneNamespace
        },
        is_once: false,
        listed_sources: arguments.top.or((!arguments.json).then_some(LISTED_IN_TEXT)),
    };
    let mut origin = Origin::Recording(Box::new(player));
    let mut interrupts = Interrupts::new()?;
    let shown = watch::show(&mut origin, view, None, &mut interrupts).await;
    if let Origin::Recording(player) = &origin
        && player.parts().is_over()
    {
        player.parts().defects().iter().for_each(|defect| look::say(defect));
    }
    shown
}
