//! `ctwatch doctor`: looks for a moment, reads all that is known of the machine, and tells what was found; where it may not look
//! it tells what can be known without.

use std::path::Path;

use super::{
    diagnosis,
    look::{self, Patience, namespace_error},
};
use crate::{
    advise::{
        bounds::Bounds,
        case::Case,
        diagnose,
        examination::{Look, Subject, examine},
    },
    cli::DoctorArguments,
    clock,
    exit::CommandError,
    host::{
        facts,
        modules::{self, Presence},
        namespace::{NamespaceChoice, NamespaceTarget, NetworkNamespace},
        settings,
    },
    output::{self, doctor::Report},
};

const NOT_LOADED: &str = "connection tracking (nf_conntrack) is not loaded";

/// Examines, and prints what was found, whatever that is.
///
/// # Errors
///
/// If nothing at all can be read, the namespace does not exist, or all of them are asked for.
pub async fn run(arguments: &DoctorArguments) -> Result<(), CommandError> {
    let NamespaceChoice::One(target) = &arguments.look.netns else {
        return Err(CommandError::Usage(
            "one namespace is examined at a time: name it with --netns; the others' tables are told as well"
                .to_owned(),
        ));
    };
    if arguments.recording.from.is_none() {
        may_read_anything()?;
        NetworkNamespace::open(target).map_err(namespace_error)?;
    }
    let report = match look_at(arguments).await {
        Ok(Some(case)) => of_case(&case, target),
        // A signal came before anything was seen.
        Ok(None) => return Ok(()),
        Err(CommandError::CannotRun(why)) => without_a_look(target, &why)?,
        Err(error) => return Err(error),
    };
    look::print(if arguments.json {
        output::doctor::json(&report) + "\n"
    } else {
        output::doctor::text(&report)
    })
    .await
}

fn may_read_anything() -> Result<(), CommandError> {
    if Path::new("/proc/self").exists() {
        return Ok(());
    }
    let why = "nothing can be read: /proc is not mounted ('mount -t proc proc /proc')";
    Err(CommandError::CannotRun(why.to_owned()))
}

async fn look_at(arguments: &DoctorArguments) -> Result<Option<Case>, CommandError> {
    let DoctorArguments { look, duration, recording, .. } = arguments;
    if recording.from.is_none() && modules::conntrack() == Presence::Absent {
        return Err(CommandError::CannotRun(NOT_LOADED.to_owned()));
    }
    diagnosis::recorded_or_live_case(look, *duration, recording, Patience::End).await
}

fn of_case(case: &Case, target: &NamespaceTarget) -> Report {
    let diagnosis = diagnose(case, &Bounds::default());
    let subject = Subject {
        netns: case.last.netns,
        settings: Some(&case.settings),
        facts: &case.facts,
        look: Ok(Look { case, diagnosis: &diagnosis }),
    };
    Report {
        wall_ns: case.last.wall_ns,
        netns: case.last.netns,
        netns_name: case.last.netns_name.as_deref().map(str::to_owned).or_else(|| name(target)),
        looked_s: Some(case.seconds),
        why_no_look: None,
        cause: Some(diagnosis.finding.cause),
        sections: examine(&subject),
    }
}

/// What can be known without a look.
fn without_a_look(target: &NamespaceTarget, why: &str) -> Result<Report, CommandError> {
    let namespace = NetworkNamespace::open(target).map_err(namespace_error)?;
    let settings = settings::read_in(&namespace).ok();
    let facts = facts::read_in(&namespace, settings.as_ref().unwrap_or(&Default::default()));
    let netns = namespace.inode();
    let subject = Subject { netns, settings: settings.as_ref(), facts: &facts, look: Err(why) };
    Ok(Report {
        wall_ns: clock::now().wall_ns,
        netns,
        netns_name: name(target),
        looked_s: None,
        why_no_look: Some(why.to_owned()),
        cause: None,
        sections: examine(&subject),
    })
}

fn name(target: &NamespaceTarget) -> Option<String> {
    match target {
        NamespaceTarget::Name(name) => Some(name.clone()),
        NamespaceTarget::OwnNamespace | NamespaceTarget::Path(_) => None,
    }
}
