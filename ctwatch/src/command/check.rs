//! `ctwatch check`: reads the kernel's own counters twice, and prints the line of a monitoring plugin. Only if something is wrong
//! it looks for who fills the table.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use super::{
    diagnosis,
    look::{Patience, namespace_error},
    recorded_case,
};
use crate::{
    advise::{
        case::Case,
        holders,
        service_state::{Reading, ServiceState, Thresholds, judge},
        wording::percent_of,
    },
    cli::CheckArguments,
    exit::CommandError,
    host::{
        modules,
        namespace::{NamespaceChoice, NamespaceTarget, NetworkNamespace},
        sysctl::{ConntrackFiles, ConntrackFilesError},
    },
    output, privilege,
};

/// Long enough to see who asks for entries.
const CULPRIT_LOOK: Duration = Duration::from_millis(500);

/// Checks, prints the line, and says how things stand.
pub async fn run(arguments: &CheckArguments) -> ServiceState {
    match checked(arguments).await {
        Ok((state, line)) => {
            print(&line);
            state
        }
        Err(error) => unknown(&error.to_string()),
    }
}

/// Prints that nothing could be found out, and why.
pub fn unknown(why: &str) -> ServiceState {
    print(&output::check::unknown(why));
    ServiceState::Unknown
}

fn print(line: &str) {
    // If nobody reads it the status still tells.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

async fn checked(arguments: &CheckArguments) -> Result<(ServiceState, String), CommandError> {
    let thresholds = Thresholds {
        warning: arguments.warning,
        critical: arguments.critical,
        time_to_full_s: arguments.time_to_full.map(|time| time.as_secs_f64()),
    };
    if thresholds.warning > thresholds.critical {
        return Err(CommandError::Usage(
            "the warning comes before the critical state: --warning must not be above --critical"
                .to_owned(),
        ));
    }
    let NamespaceChoice::One(target) = &arguments.look.netns else {
        return Err(CommandError::Usage(
            "one namespace is checked at a time: name it with --netns".to_owned(),
        ));
    };
    let recorded = match &arguments.from {
        Some(path) => Some(recorded_case::read(path, target, arguments.duration)?),
        None => None,
    };
    let reading = match &recorded {
        Some(case) => recorded_reading(case),
        None => read(target, arguments.duration).await?,
    };
    let judgement = judge(&reading, &thresholds);
    let who = match judgement.state {
        ServiceState::Warning | ServiceState::Critical => match &recorded {
            Some(case) => clause(case),
            None => culprit(arguments).await,
        },
        ServiceState::Ok | ServiceState::Unknown => None,
    };
    let line = output::check::line(&judgement, who.as_deref(), &reading, &thresholds);
    Ok((judgement.state, line))
}

async fn read(target: &NamespaceTarget, duration: Duration) -> Result<Reading, CommandError> {
    let namespace = NetworkNamespace::open(target).map_err(namespace_error)?;
    let failed = |error: ConntrackFilesError| CommandError::Failed(error.into());
    if modules::is_conntrack_in_transit() {
        return Err(failed(ConntrackFilesError::NotLoaded));
    }
    let mut files = ConntrackFiles::open_in(&namespace).map_err(failed)?;
    let begun = tokio::time::Instant::now();
    let (entries_before, before) =
        (files.count().map_err(failed)?, files.statistics().map_err(failed)?);
    tokio::time::sleep_until(begun + duration).await;
    let (entries, kernel) = (files.count().map_err(failed)?, files.statistics().map_err(failed)?);
    Ok(Reading {
        entries_before,
        entries,
        limit: files.limit().map_err(failed)?,
        seconds: begun.elapsed().as_secs_f64(),
        added: kernel.since(&before),
        kernel,
    })
}

/// What two readings at the beginning and the end of what was recorded would have been.
fn recorded_reading(case: &Case) -> Reading {
    let first = &case.first.table;
    let grown = first.growth_per_s.unwrap_or(0.0) * case.first.interval_s;
    Reading {
        entries_before: (first.entries as f64 - grown).round() as u64,
        entries: case.entries(),
        limit: case.last.table.limit,
        seconds: case.seconds,
        kernel: *case.kernel(),
        added: *case.kernel(),
    }
}

/// Who holds most, as a clause; `None` if that cannot be seen, or not soon.
async fn culprit(arguments: &CheckArguments) -> Option<String> {
    if privilege::missing().is_some() {
        return None;
    }
    let looked = diagnosis::case_with_patience(&arguments.look, CULPRIT_LOOK, Patience::End);
    // What matters has been found out already.
    let left = arguments.timeout.saturating_sub(arguments.duration);
    let case = tokio::time::timeout(left, looked).await.ok()?.ok()??;
    clause(&case)
}

fn clause(case: &Case) -> Option<String> {
    let most = holders::holders(case).into_iter().next().filter(|most| most.entries > 0)?;
    Some(format!("{} holds {}", most.name(), percent_of(most.entries, case.entries())))
}
