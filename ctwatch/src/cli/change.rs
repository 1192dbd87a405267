//! Arguments of the commands that change something: `apply`, `confirm`, `rollback`, `changes`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{BoundsArguments, LookArguments, duration};

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArguments {
    /// The advice to follow, by its id; without any, what cannot cut a connection: limit and buckets
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Carry out the plan that was shown last; without this a plan is shown and nothing is changed
    #[arg(long)]
    pub yes: bool,
    /// Undo everything after this time unless 'ctwatch confirm' comes before, even if this session is lost
    #[arg(long, value_name = "TIME", value_parser = confirmation_time, requires = "yes")]
    pub confirm_within: Option<Duration>,
    /// End the entries that a shorter timeout would have ended already; this cannot be undone
    #[arg(long, requires = "yes")]
    pub purge: bool,
    /// The most entries that --purge ends
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "purge")]
    pub purge_max: usize,
    /// How long to look, before the plan and after it was carried out
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Not a way to change anything
    #[arg(long, value_name = "FILE", hide = true)]
    pub from: Option<PathBuf>,
    /// Do not look what it has done
    #[arg(long)]
    pub no_look_after: bool,
    /// How far changes may go
    #[command(flatten)]
    pub bounds: BoundsArguments,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
    /// Where changes are remembered
    #[command(flatten)]
    pub state: StateArguments,
}

/// Arguments of `confirm`.
#[derive(Debug, Args)]
pub struct ConfirmArguments {
    /// The change set; the latest one if none is named
    #[arg(value_name = "ID")]
    pub id: Option<u64>,
    /// Write the files that make it outlast a restart of the machine
    #[arg(long)]
    pub persist: bool,
    /// Write them although another file wins over a part of it, or ours was edited
    #[arg(long, requires = "persist")]
    pub force: bool,
    /// Where changes are remembered
    #[command(flatten)]
    pub state: StateArguments,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArguments {
    /// The change set; the latest one if none is named
    #[arg(value_name = "ID")]
    pub id: Option<u64>,
    /// Overwrite what somebody else has changed since
    #[arg(long)]
    pub force: bool,
    /// Where changes are remembered
    #[command(flatten)]
    pub state: StateArguments,
}

/// Arguments of `changes`.
#[derive(Debug, Args)]
pub struct ChangesArguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where changes are remembered
    #[command(flatten)]
    pub state: StateArguments,
}

/// Arguments of the watchdog.
#[derive(Debug, Args)]
pub struct WatchdogArguments {
    /// The change set
    #[arg(long)]
    pub set: u64,
    /// Where changes are remembered
    #[command(flatten)]
    pub state: StateArguments,
}

/// Where changes are remembered.
#[derive(Debug, Args)]
pub struct StateArguments {
    /// The directory of the journal
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    pub state_dir: Option<PathBuf>,
}

fn confirmation_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&time) {
        Ok(time)
    } else {
        Err("the time to confirm must be from 1s to 24h".to_owned())
    }
}
