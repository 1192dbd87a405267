//! `ctwatch apply`: shows a plan and remembers it; with `--yes` carries out the one that was shown last, if nothing has changed
//! since.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{
    carrying_out::{self, Done},
    diagnosis, look,
    undoing::{Locked, overdue, say_overdue},
};
use crate::{
    advise::{bounds::Bounds, diagnose},
    change::{
        guard::objections,
        machine::Machine,
        plan::{ChoiceError, Plan, Stale},
        record::{Measured, Place, Record, SetId},
        state::State,
        system::System as _,
    },
    cli::ApplyArguments,
    clock,
    exit::CommandError,
    host::namespace::{NamespaceChoice, NetworkNamespace},
    output::plan as output,
    privilege,
};

/// Shows a plan, or carries one out.
///
/// # Errors
///
/// If it cannot look; with `--yes`, if the plan cannot be carried out: then nothing is changed, or all is undone.
pub async fn run(arguments: &ApplyArguments) -> Result<(), CommandError> {
    if arguments.from.is_some() {
        return Err(CommandError::Usage(
            "a recording tells what was, and what is changed is what is now: 'ctwatch advise --from FILE' says what would have helped, \
             'ctwatch apply' looks at this machine"
                .to_owned(),
        ));
    }
    let NamespaceChoice::One(target) = &arguments.look.netns else {
        return Err(CommandError::Usage(
            "changes are made in one namespace: name it with --netns".to_owned(),
        ));
    };
    let namespace = NetworkNamespace::open(target).map_err(look::namespace_error)?;
    if let Some(sentence) = privilege::missing() {
        return Err(CommandError::CannotRun(sentence));
    }
    let state = State::at(arguments.state.state_dir.as_deref());
    if !arguments.yes {
        if let Some(id) = overdue(&state)? {
            look::say(&format!(
                "change set {id} was not confirmed in time and its watchdog is gone: undo it with 'ctwatch rollback {id}'"
            ));
        }
        return show(arguments, &state, &namespace).await;
    }
    // Ctrl-C, the end of the session or of the service must not cut it off between two values.
    let _signals =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let place = Place::now(&namespace).map_err(|error| {
        CommandError::Failed(anyhow::Error::new(error).context("cannot tell where this is"))
    })?;
    let overdue = {
        let mut locked = Locked::new(&state)?;
        let overdue = locked.undo_overdue()?;
        carrying_out::settled(&locked)?;
        overdue
    };
    if overdue.is_some() {
        say_overdue(overdue.as_ref())?;
        let why = "values are others than when the last plan was shown";
        return show_anew(arguments, &state, &namespace, why).await;
    }
    let plan = match stored(&state, &place) {
        Ok(plan) => plan,
        Err(stale) => return show_anew(arguments, &state, &namespace, &stale.to_string()).await,
    };
    let choice = plan.choose(&arguments.ids).map_err(choice_error)?;
    if choice.changes.is_empty() {
        return nothing(&plan).await;
    }
    let done = {
        let mut locked = Locked::new(&state)?;
        carrying_out::carry_out(arguments, &state, &mut locked, &namespace, place, &plan, &choice)
    };
    let done = match done {
        Ok(done) => done,
        Err(carrying_out::CarryOutError::Moved(why)) => {
            return show_anew(arguments, &state, &namespace, &why).await;
        }
        Err(carrying_out::CarryOutError::Command(error)) => return Err(error),
    };
    let Done { set, idle } = done;
    look::print(output::done(set, &choice)).await?;
    if let Some(within) = arguments.confirm_within {
        look::say(&format!(
            "within {within:?} confirm with 'ctwatch confirm {set}', or all of it is undone; this session is not needed for that"
        ));
    }
    if let Some(idle) = idle {
        let report = idle.end(&namespace);
        let report = report.map_err(|error| {
            let error = anyhow::Error::new(error)
                .context("the changes are in force, but not all idle entries were ended");
            CommandError::Failed(error)
        })?;
        look::print(output::purged(&report)).await?;
    }
    if arguments.no_look_after {
        return Ok(());
    }
    look_after(arguments, &state, set, &plan.before, choice.refused_share).await
}

/// Looks, and shows and remembers what would be changed.
async fn show(
    arguments: &ApplyArguments,
    state: &State,
    namespace: &NetworkNamespace,
) -> Result<(), CommandError> {
    let Some(case) = diagnosis::case(&arguments.look, arguments.duration).await? else {
        return Ok(());
    };
    let bounds = Bounds::from(&arguments.bounds);
    let place = Place::now(namespace).map_err(|error| {
        CommandError::Failed(anyhow::Error::new(error).context("cannot tell where this is"))
    })?;
    let plan = Plan::of(&case, &diagnose(&case, &bounds), place, clock::boottime_ns());
    let choice = plan.choose(&arguments.ids).map_err(choice_error)?;
    let mut machine = Machine::new(NetworkNamespace::open(namespace.target()).ok());
    let surroundings = carrying_out::surroundings(&mut machine, &plan, &choice);
    let objections = objections(&choice.changes, &surroundings, &bounds);
    look::print(output::plan(&plan, &choice, &objections)).await?;
    if let Err(why) = remember(state, &plan) {
        look::say(&format!(
            "this plan cannot be carried out by --yes, as it cannot be remembered: {why}"
        ));
    } else if !choice.changes.is_empty() && objections.is_empty() {
        let ids = arguments.ids.iter().map(|id| format!("{id} ")).collect::<String>();
        look::say(&format!("to carry it out: ctwatch apply {ids}--yes"));
    }
    Ok(())
}

/// Shows a new plan, as the last one does not hold, and stops.
async fn show_anew(
    arguments: &ApplyArguments,
    state: &State,
    namespace: &NetworkNamespace,
    why: &str,
) -> Result<(), CommandError> {
    look::say(&format!("{why}: making a new plan, nothing is changed"));
    show(arguments, state, namespace).await?;
    Err(CommandError::Failed(anyhow::anyhow!(
        "nothing was changed, as {why}; this is a new plan: the same command carries it out"
    )))
}

async fn nothing(plan: &Plan) -> Result<(), CommandError> {
    let doable = plan.advice.iter().filter(|advice| !advice.changes.is_empty());
    let ids: Vec<&str> = doable.map(|advice| advice.id.as_str()).collect();
    if ids.is_empty() {
        return look::print("nothing to change\n".to_owned()).await;
    }
    Err(CommandError::Failed(anyhow::anyhow!(
        "nothing was changed: what is advised can cut connections and is done by its id only: {}",
        ids.join(", ")
    )))
}

/// The plan that was shown last, if it is good for this place and time.
fn stored(state: &State, place: &Place) -> Result<Plan, Stale> {
    let read = Machine::new(None).file(&state.plan());
    let read = read.map_err(|error| Stale::Unreadable(error.to_string()))?;
    let plan = Plan::from_json(&read.ok_or(Stale::Missing)?)?;
    plan.check_fresh(place, clock::boottime_ns())?;
    Ok(plan)
}

/// Keeps a plan as the one that was shown last; one in which there is nothing to do is none.
pub(super) fn remember(state: &State, plan: &Plan) -> Result<(), String> {
    state.prepare().map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    if plan.advice.iter().all(|advice| advice.changes.is_empty()) {
        return Machine::new(None).remove_file(&state.plan()).map_err(|error| error.to_string());
    }
    let json = plan.to_json().map_err(|error| error.to_string())?;
    let kept = Machine::new(None).replace_file(&state.plan(), &json);
    kept.map_err(|error| error.to_string())
}

/// Looks for as long as before, shows both side by side, and notes it.
async fn look_after(
    arguments: &ApplyArguments,
    state: &State,
    set: SetId,
    before: &Measured,
    predicted_share: Option<f64>,
) -> Result<(), CommandError> {
    let looked = if before.seconds > 0.0 {
        Duration::try_from_secs_f64(before.seconds).unwrap_or(arguments.duration)
    } else {
        arguments.duration
    };
    look::say("looking what it has done; this can be broken off, the changes stay");
    let Some(case) = diagnosis::case(&arguments.look, looked.min(arguments.duration)).await? else {
        return Ok(());
    };
    let after = Measured::of(&case);
    look::print(output::effect(before, predicted_share, &after)).await?;
    let mut locked = Locked::new(state)?;
    // It may have been undone meanwhile.
    if locked.set(Some(set))?.is_none_or(|set| set.rolled_back.is_some()) {
        return Ok(());
    }
    let noted = locked.journal.append(&mut Machine::new(None), Record::Measured { set, after });
    noted.map_err(|error| {
        let error = anyhow::Error::new(error)
            .context("the changes are in force, but what was seen of them is not noted");
        CommandError::Failed(error)
    })
}

fn choice_error(error: ChoiceError) -> CommandError {
    CommandError::Usage(error.to_string())
}
