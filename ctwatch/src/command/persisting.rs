//! What `ctwatch confirm --persist` does besides confirming: writes the files by which a change set outlasts a restart of the
//! machine, and says which lines win. What they say is decided in `change::persist`.

use std::path::Path;

use super::undoing::Locked;
use crate::{
    advise::{advice::Change, settings::LIMIT},
    change::{
        files::{self, FileWish},
        knob::by_key,
        ledger::ChangeSet,
        persist::{Force, Plan, Request, plan_files},
        record::SetId,
        system::System,
    },
    clock,
    exit::CommandError,
    host::persistence,
};

const ROOT: &str = "/";

/// Makes a change set persistent, and returns what was done, a sentence each.
///
/// # Errors
///
/// If it would not outlast a restart, or a file cannot be written: then all files are as before.
pub(super) fn persist(
    locked: &mut Locked,
    id: SetId,
    force: Force,
) -> Result<Vec<String>, CommandError> {
    let Some(set) = locked.set(Some(id))?.cloned() else { return Ok(Vec::new()) };
    let mut machine = set.began.place.machine(&locked.boot);
    let at_ms = clock::wall_ms();
    let failed = |error: anyhow::Error| {
        CommandError::Failed(error.context(format!(
            "change set {id} is confirmed, but a restart of the machine undoes it"
        )))
    };
    let plan = plan(&set, &mut machine, at_ms, force).map_err(failed)?;
    let wishes: Vec<FileWish> = plan
        .files
        .iter()
        .map(|file| FileWish { path: file.path.clone(), contents: Some(file.new.clone()) })
        .collect();
    let replaced = files::replace(id, &wishes, &mut locked.journal, &mut machine, at_ms);
    replaced.map_err(|error| failed(error.into()))?;
    let written = wishes.iter().map(|wish| format!("wrote {}", wish.path.display()));
    Ok(written.chain(plan.who_wins).collect())
}

fn plan(
    set: &ChangeSet,
    machine: &mut impl System,
    at_ms: i64,
    force: Force,
) -> Result<Plan, anyhow::Error> {
    let began = &set.began;
    let mut in_force = persistence::machine(Path::new(ROOT), None);
    let keys = began.changes.iter().map(|change| change.key.as_str()).chain([LIMIT]);
    for knob in keys.filter_map(by_key) {
        // What cannot be read is missing, which the plan says.
        if let Ok(value) = machine.value(&knob) {
            in_force.values.insert(knob.key, value);
        }
    }
    let changes = began.changes.iter().map(|change| Change {
        key: change.key.clone(),
        from: change.from.to_string(),
        to: change.to.to_string(),
    });
    let changes: Vec<Change> = changes.collect();
    let request = Request {
        set: set.id(),
        when: jiff::Timestamp::from_millisecond(at_ms)?.to_string(),
        changes: &changes,
        child_namespace: (!began.place.is_initial).then(|| began.place.netns_name.clone()),
        force,
    };
    Ok(plan_files(&persistence::files(Path::new(ROOT)), &in_force, &request)?)
}
