//! Arguments of `doctor`.

use std::time::Duration;

use clap::Args;

use super::{LookArguments, RecordingArguments, duration};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// How long to look first; with --from, how much of the end of the recording to take
    #[arg(long = "for", value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub duration: Duration,
    /// From or to a recording
    #[command(flatten)]
    pub recording: RecordingArguments,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}
