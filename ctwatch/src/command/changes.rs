//! `ctwatch changes`: what was changed, when, why, and what became of it. It changes nothing.

use super::{
    look,
    undoing::{read, this_boot},
};
use crate::{
    change::{history::history, ledger::ChangeSet, state::State},
    cli::ChangesArguments,
    clock,
    exit::CommandError,
    output::changes,
};

/// Lists.
///
/// # Errors
///
/// If the journal cannot be read or believed.
pub async fn run(arguments: &ChangesArguments) -> Result<(), CommandError> {
    let state = State::at(arguments.state.state_dir.as_deref());
    let journal = read(&state)?;
    let boot = this_boot()?;
    let machine = |set: &ChangeSet| set.began.place.machine(&boot);
    let entries = history(journal.ledger(), &boot, clock::boottime_ns(), machine);
    let printed = if arguments.json {
        changes::json(clock::wall_ms(), &entries) + "\n"
    } else {
        changes::text(&entries)
    };
    look::print(printed).await
}
