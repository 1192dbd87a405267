//! `ctwatch blocks`: who is kept out or capped, since when, until when, why, and what it did. It changes nothing.

use super::{
    blocking::{firewall_error, on_a_thread, open, place, report_of_all},
    look,
};
use crate::{
    change::{firewall, state::State},
    cli::BlocksArguments,
    exit::CommandError,
    output::blocks,
};

/// Lists.
///
/// # Errors
///
/// If the rules cannot be read.
pub async fn run(arguments: &BlocksArguments) -> Result<(), CommandError> {
    let namespace = open(&arguments.netns)?;
    let listing = on_a_thread(&namespace, firewall::read).await?.map_err(firewall_error)?;
    let state = State::at(arguments.state.state_dir.as_deref());
    let report = report_of_all(&place(&namespace)?, &listing, &state);
    let printed = if arguments.json { blocks::json(&report) + "\n" } else { blocks::text(&report) };
    look::print(printed).await
}
