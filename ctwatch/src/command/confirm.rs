//! `ctwatch confirm`: keeps changes that would be undone otherwise, and with `--persist` makes them outlast a restart of the
//! machine.

use super::{look, persisting, undoing::Locked};
use crate::{
    change::{
        history::{Became, entry},
        persist::Force,
        record::Record,
        state::State,
    },
    cli::ConfirmArguments,
    clock,
    exit::CommandError,
};

/// Confirms, and says what.
///
/// # Errors
///
/// If there is nothing to confirm, or it cannot be written down.
pub async fn run(arguments: &ConfirmArguments) -> Result<(), CommandError> {
    let state = State::at(arguments.state.state_dir.as_deref());
    let mut locked = Locked::new(&state)?;
    let Some(set) = locked.set(arguments.id)? else {
        return Err(failed("there is nothing to confirm: no change is in force".to_owned()));
    };
    let id = set.id();
    if let Some(rolled_back) = &set.rolled_back {
        let by = rolled_back.by.words();
        return Err(failed(format!(
            "change set {id} was rolled back already, {by}: to make the changes again use 'ctwatch apply'"
        )));
    }
    if set.is_cut_off() {
        return Err(failed(format!(
            "change set {id} was cut off before it was finished, so there is nothing to keep: undo it with 'ctwatch rollback {id}'"
        )));
    }
    let mut machine = set.began.place.machine(&locked.boot);
    if entry(set, &locked.boot, clock::boottime_ns(), &mut machine).became == Became::Lapsed {
        return Err(failed(format!(
            "there is nothing to confirm: the values of change set {id} are not in force any more, see 'ctwatch changes'"
        )));
    }
    if set.confirmed_at_ms.is_none() {
        let at_ms = clock::wall_ms();
        let confirmed = Record::Confirmed { set: id, at_ms };
        let written = locked.journal.append(&mut machine, confirmed);
        written.map_err(|error| {
            let error = anyhow::Error::new(error);
            CommandError::Failed(error.context(format!("change set {id} could not be confirmed")))
        })?;
    }
    if !arguments.persist {
        drop(locked);
        return look::print(format!(
            "change set {id} is confirmed; a restart of the machine undoes it, unless it is made to last: ctwatch confirm --persist {id}\n"
        ))
        .await;
    }
    let force = if arguments.force { Force::Write } else { Force::Refuse };
    let done = persisting::persist(&mut locked, id, force)?;
    drop(locked);
    let mut text = format!("change set {id} is confirmed and outlasts a restart of the machine\n");
    for sentence in done {
        text.push_str(&format!("  {sentence}\n"));
    }
    look::print(text).await
}

fn failed(sentence: String) -> CommandError {
    CommandError::Failed(anyhow::anyhow!(sentence))
}
