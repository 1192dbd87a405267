//! Arguments of `doctor`.

use std::time::Duration;

use clap::Args;

use super::{LookArguments, duration};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// How long to look first
    #[arg(long = "for", value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub duration: Duration,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}
