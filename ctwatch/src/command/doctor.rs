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
        diagnose,
        examination::{Look, Subject, examine},
    },
    cli::DoctorArguments,
    clock,
    exit::CommandError,
    host::{
        facts, module_users,
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
    if !Path::new("/proc/self").exists() {
        let why = "nothing can be read: /proc is not mounted ('mount -t proc proc /proc')";
        return Err(CommandError::CannotRun(why.to_owned()));
    }
    let namespace = NetworkNamespace::open(target).map_err(namespace_error)?;
    // Traced functions hold the module, and let it go a while after they are traced no more.
    let modules_before = module_users::read();
    let seen = if modules::conntrack() == Presence::Absent {
        Err(NOT_LOADED.to_owned())
    } else {
        let (look, duration) = (&arguments.look, arguments.duration);
        match diagnosis::case_with_patience(look, duration, Patience::End).await {
            Ok(Some(mut case)) => {
                case.facts.modules = modules_before;
                Ok(case)
            }
            // A signal came before anything was seen.
            Ok(None) => return Ok(()),
            Err(CommandError::CannotRun(why)) => Err(why),
            Err(error) => return Err(error),
        }
    };
    let name = match target {
        NamespaceTarget::Name(name) => Some(name.clone()),
        _ => seen.as_ref().ok().and_then(|case| case.last.netns_name.as_deref().map(str::to_owned)),
    };
    let read;
    let (settings, facts, look) = match &seen {
        Ok(case) => {
            let diagnosis = diagnose(case, &Bounds::default());
            (Some(&case.settings), &case.facts, Ok((case, diagnosis)))
        }
        Err(why) => {
            let settings = settings::read_in(&namespace).ok();
            let facts =
                facts::read_in(&namespace, settings.as_ref().unwrap_or(&Default::default()));
            read = (settings, facts);
            (read.0.as_ref(), &read.1, Err(why.as_str()))
        }
    };
    let look = look.as_ref().map(|(case, diagnosis)| Look { case, diagnosis }).map_err(|why| *why);
    let subject = Subject { netns: namespace.inode(), settings, facts, look };
    let report = Report {
        wall_ns: clock::now().wall_ns,
        netns: namespace.inode(),
        netns_name: name,
        looked_s: subject.case().map(|case| case.seconds),
        why_no_look: subject.look.as_ref().err().map(|why| (*why).to_owned()),
        cause: look.ok().map(|look| look.diagnosis.finding.cause),
        sections: examine(&subject),
    };
    look::print(if arguments.json {
        output::doctor::json(&report) + "\n"
    } else {
        output::doctor::text(&report)
    })
    .await
}
