//! `ctwatch watchdog`: what `apply --confirm-within` leaves behind; not for people.

use crate::{
    change::{state::State, watchdog},
    cli::WatchdogArguments,
    exit::CommandError,
};

/// Watches until the change set is confirmed or undone.
///
/// # Errors
///
/// If it cannot begin.
pub fn run(arguments: &WatchdogArguments) -> Result<(), CommandError> {
    let state = State::at(arguments.state.state_dir.as_deref());
    watchdog::run(&state, arguments.set)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))
}
