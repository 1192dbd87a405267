//! `ctwatch advise`: looks for a while, says why the table fills, and what helps.

use super::{diagnosis, look, what_if};
use crate::{
    advise::{bounds::Bounds, diagnose},
    cli::AdviseArguments,
    exit::CommandError,
    host::namespace::{NamespaceChoice, NamespaceTarget},
    output,
};

/// Looks, judges, and prints.
///
/// # Errors
///
/// If it cannot look; with `--check`, if there is advice.
pub async fn run(arguments: &AdviseArguments) -> Result<(), CommandError> {
    if !arguments.what_if.is_empty() {
        return what_if::run(arguments).await;
    }
    let AdviseArguments { duration, recording, .. } = arguments;
    let patience = diagnosis::patience(&arguments.look);
    let Some(case) =
        diagnosis::recorded_or_live_case(&arguments.look, *duration, recording, patience).await?
    else {
        return Ok(());
    };
    let diagnosis = diagnose(&case, &Bounds::from(&arguments.bounds));
    let printed = if arguments.json {
        output::advice::json(&case, &diagnosis) + "\n"
    } else {
        output::advice::text(&case, &diagnosis)
    };
    if !diagnosis.advice.is_empty() {
        if recording.from.is_some() {
            look::say("the commands are for the machine that was recorded, as it was then");
        } else if let Some(place) = elsewhere(&arguments.look.netns) {
            look::say(&format!(
                "the commands are for a shell of root in that network namespace: nsenter --net={place}"
            ));
        }
    }
    look::print(printed).await?;
    if arguments.check && !diagnosis.advice.is_empty() {
        let ids: Vec<&str> = diagnosis.advice.iter().map(|advice| advice.id.as_str()).collect();
        return Err(CommandError::Findings(format!("there is advice: {}", ids.join(", "))));
    }
    Ok(())
}

/// The file of the namespace that is looked at, if it is not the one that this program runs in.
fn elsewhere(choice: &NamespaceChoice) -> Option<String> {
    match choice {
        NamespaceChoice::One(NamespaceTarget::Name(name)) => Some(format!("/run/netns/{name}")),
        NamespaceChoice::One(NamespaceTarget::Path(path)) => Some(path.display().to_string()),
        NamespaceChoice::One(NamespaceTarget::OwnNamespace) | NamespaceChoice::All => None,
    }
}
