//! Carries out a plan under the lock: asks once more whether anything speaks against it, and makes the changes. It prints
//! nothing.

use super::{apply::remember, undoing::Locked};
use crate::{
    advise::{advice::Change, bounds::Bounds},
    change::{
        apply::{ApplyError, apply, because, check_from},
        guard::{Objection, Surroundings, objections},
        held::lower_lately,
        knob::by_key,
        ledger::ChangeSet,
        machine::Machine,
        plan::{Choice, Plan},
        purge::{IdleEntries, PurgePlan},
        record::{Began, Deadline, Place, PlannedChange, SetId},
        state::State,
        watchdog,
    },
    cli::ApplyArguments,
    clock,
    exit::CommandError,
    host::{
        machine_memory, namespace::NetworkNamespace, namespace_list::tracking_namespaces, settings,
        sysctl::ConntrackFiles,
    },
};

/// What was done.
pub(super) struct Done {
    /// The change set.
    pub(super) set: SetId,
    /// Idle entries that are to end now.
    pub(super) idle: Option<IdleEntries>,
}

/// Why it was not.
pub(super) enum CarryOutError {
    /// Values are others than when the plan was made, in words.
    Moved(String),
    /// Another reason.
    Command(CommandError),
}

impl From<CommandError> for CarryOutError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// Makes the chosen changes, or none.
pub(super) fn carry_out(
    arguments: &ApplyArguments,
    state: &State,
    locked: &mut Locked,
    namespace: &NetworkNamespace,
    place: Place,
    plan: &Plan,
    choice: &Choice,
) -> Result<Done, CarryOutError> {
    settled(locked)?;
    let mut machine = place.machine(&locked.boot);
    match check_from(&choice.changes, &mut machine) {
        Err(error @ ApplyError::Moved { .. }) => {
            return Err(CarryOutError::Moved(error.to_string()));
        }
        checked => checked.map_err(apply_error)?,
    }
    let bounds = Bounds::from(&arguments.bounds);
    let surroundings = surroundings(&mut machine, plan, choice);
    let objections = objections(&choice.changes, &surroundings, &bounds);
    if !objections.is_empty() {
        return Err(objected(&objections).into());
    }
    if arguments.purge {
        let (ledger, netns) = (locked.journal.ledger(), place.netns);
        let lately = lower_lately(ledger, netns, &locked.boot, &choice.changes, clock::wall_ms());
        if let Some((change, since_s)) = lately {
            return Err(failed(format!(
                "nothing was changed: until {since_s} s ago {} was lower than the {} s that it is, and entries from then seem to be \
                 idle while they are in use: leave out --purge, or wait until that is {} s ago",
                change.key, change.from, change.to
            ))
            .into());
        }
    }
    let idle = arguments.purge.then(|| idle(namespace, choice, arguments.purge_max)).transpose()?;
    let set = locked.journal.ledger().next_id();
    let deadline = arguments.confirm_within.map(|within| Deadline {
        boottime_ns: clock::boottime_ns()
            .saturating_add(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)),
        within_s: within.as_secs(),
    });
    let began = Began {
        set,
        at_ms: clock::wall_ms(),
        place,
        cause: plan.cause.clone(),
        advice: choice.ids.clone(),
        changes: choice.changes.clone(),
        deadline,
        before: Some(plan.before.clone()),
        predicted_refused_share: choice.refused_share,
    };
    let ready = || deadline.map_or(Ok(()), |_| watchdog::start(state, set));
    match apply(began, &mut locked.journal, &mut machine, ready) {
        Err(error @ ApplyError::Moved { .. }) => {
            return Err(CarryOutError::Moved(error.to_string()));
        }
        applied => applied.map_err(apply_error)?,
    }
    // What is left of the plan may be chosen later. If it cannot be kept a new one will be shown then.
    let _ = remember(state, &plan.without(choice));
    Ok(Done { set, idle })
}

/// Makes sure that nothing earlier is open: what was cut off, or waits to be confirmed.
pub(super) fn settled(locked: &Locked) -> Result<(), CommandError> {
    // A new start of the machine has settled everything before it.
    let sets = locked.journal.ledger().sets().iter();
    let sets: Vec<&ChangeSet> = sets.filter(|set| set.began.place.boot == locked.boot).collect();
    if let Some(set) = sets.iter().find(|set| set.is_cut_off()) {
        let id = set.id();
        return Err(failed(format!(
            "nothing was changed: change set {id} was cut off in the middle; first undo it with 'ctwatch rollback {id}'"
        )));
    }
    if let Some(set) = sets.iter().find(|set| set.awaits_confirmation()) {
        let id = set.id();
        return Err(failed(format!(
            "nothing was changed: change set {id} waits to be confirmed; first 'ctwatch confirm {id}' or 'ctwatch rollback {id}'"
        )));
    }
    Ok(())
}

/// What the machine is like now.
pub(super) fn surroundings(machine: &mut Machine, plan: &Plan, choice: &Choice) -> Surroundings {
    let count = |target| {
        let namespace = NetworkNamespace::open(target).ok()?;
        ConntrackFiles::open_in(&namespace).ok()?.count().ok()
    };
    let unwritable = choice.changes.iter().filter_map(|change| {
        let knob = by_key(&change.key)?;
        let why = machine.check_writable(&knob).err()?;
        Some((change.key.clone(), because(&why)))
    });
    Surroundings {
        unwritable: unwritable.collect(),
        entries: tracking_namespaces().iter().filter_map(|found| count(&found.target)).collect(),
        available_bytes: machine_memory::read().available_bytes,
        entry_bytes: plan.entry_bytes,
        page_bytes: rustix::param::page_size() as u64,
        reaches_machine: machine.reaches_initial(),
    }
}

/// Lists idle entries while the old timeouts are in force.
fn idle(
    namespace: &NetworkNamespace,
    choice: &Choice,
    cap: usize,
) -> Result<IdleEntries, CommandError> {
    let before = settings::read_in(namespace)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    let change = |change: &PlannedChange| Change {
        key: change.key.clone(),
        from: change.from.to_string(),
        to: change.to.to_string(),
    };
    let changes: Vec<Change> = choice.changes.iter().map(change).collect();
    let plan = PurgePlan::of_changes(&before, &changes).ok_or_else(|| {
        CommandError::Usage(
            "--purge ends what a shorter timeout would have ended, and no timeout is among the changes: name such advice by its id"
                .to_owned(),
        )
    })?;
    IdleEntries::list(namespace, &plan, cap)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))
}

fn objected(objections: &[Objection]) -> CommandError {
    let why: Vec<String> = objections.iter().map(ToString::to_string).collect();
    let sentence = format!("nothing was changed: {}", why.join("; "));
    if objections.iter().any(Objection::is_of_place) {
        CommandError::CannotRun(sentence)
    } else {
        failed(sentence)
    }
}

fn apply_error(error: ApplyError) -> CommandError {
    CommandError::Failed(error.into())
}

fn failed(sentence: String) -> CommandError {
    CommandError::Failed(anyhow::anyhow!(sentence))
}
