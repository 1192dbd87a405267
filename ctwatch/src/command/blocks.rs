//! `ctwatch blocks`: who is kept out or capped, since when, until when, why, and what it did. It changes nothing.

use super::{
    blocking::{firewall_error, on_a_thread, open, place, report},
    look,
};
use crate::{
    change::{
        firewall::{self, effect},
        state::State,
    },
    cli::BlocksArguments,
    exit::CommandError,
    output::blocks::{self, Report},
};

/// Lists.
///
/// # Errors
///
/// If the rules cannot be read.
pub async fn run(arguments: &BlocksArguments) -> Result<(), CommandError> {
    let namespace = open(&arguments.netns)?;
    let listing = on_a_thread(&namespace, firewall::read).await?.map_err(firewall_error)?;
    let effects = effect::read(&State::at(arguments.state.state_dir.as_deref()));
    let blocks = report(&place(&namespace)?, &listing, listing.blocks.iter(), &effects);
    let report = Report { caps: listing.caps.held.clone(), ..blocks };
    let printed = if arguments.json { blocks::json(&report) + "\n" } else { blocks::text(&report) };
    look::print(printed).await
}
