//! `ctwatch rollback`: undoes a change set from what the journal says, also after a crash.

use super::{
    look,
    undoing::{Locked, told},
};
use crate::{
    change::{record::UndoneBy, state::State, undo::Foreign},
    cli::RollbackArguments,
    exit::CommandError,
};

/// Undoes, and says what.
///
/// # Errors
///
/// If there is no such change set, somebody else has changed a value since, or something cannot be restored.
pub async fn run(arguments: &RollbackArguments) -> Result<(), CommandError> {
    let state = State::at(arguments.state.state_dir.as_deref());
    let mut locked = Locked::new(&state)?;
    let Some(set) = locked.set(arguments.id)? else {
        drop(locked);
        return look::print("nothing to undo: no change is in force\n".to_owned()).await;
    };
    let id = set.id();
    if let Some(rolled_back) = &set.rolled_back {
        let said = format!("change set {id} was rolled back already, {}\n", rolled_back.by.words());
        drop(locked);
        return look::print(said).await;
    }
    let foreign = if arguments.force { Foreign::Overwrite } else { Foreign::Refuse };
    let undone = locked.undo(id, UndoneBy::Operator, foreign)?;
    drop(locked);
    let sentences = told(id, &undone)?;
    look::print(format!("change set {id} is rolled back; {}\n", sentences.join("; "))).await
}
