//! Arguments of the commands that judge: `advise`.

use std::time::Duration;

use clap::Args;

use super::{LookArguments, RecordingArguments, duration};
use crate::advise::{bounds::Bounds, what_if::Question};

/// Arguments of `advise`.
#[derive(Debug, Args)]
pub struct AdviseArguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// End with status 3 if there is advice
    #[arg(long)]
    pub check: bool,
    /// Only say what would end now if a timeout were this many seconds; may be given several times
    #[arg(long, value_name = "TIMEOUT=SECONDS", conflicts_with_all = ["check", "from", "record"])]
    pub what_if: Vec<Question>,
    /// How long to look first; with --from, how much of the end of the recording to take
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// From or to a recording
    #[command(flatten)]
    pub recording: RecordingArguments,
    /// How far advice may go
    #[command(flatten)]
    pub bounds: BoundsArguments,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

/// How far advice may go.
#[derive(Debug, Args)]
pub struct BoundsArguments {
    /// Allow timeouts below what the RFCs ask of a NAT
    #[arg(long)]
    pub allow_below_rfc: bool,
    /// Allow values lower than an administrator has set them
    #[arg(long)]
    pub allow_lowering: bool,
    /// The share of the machine's memory that full tables may take, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    pub memory: f64,
    /// How long the kernel may stand still while the hash table is made anew, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50.0, value_parser = milliseconds)]
    pub stall: f64,
}

impl From<&BoundsArguments> for Bounds {
    fn from(arguments: &BoundsArguments) -> Self {
        Self {
            allow_below_rfc: arguments.allow_below_rfc,
            memory_share_max: arguments.memory / 100.0,
            stall_ms_max: arguments.stall,
            allow_lowering: arguments.allow_lowering,
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent: &f64| *percent > 0.0 && *percent <= 90.0);
    percent.ok_or_else(|| "a share of the memory is more than 0 and at most 90 percent".to_owned())
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let time = text.parse().ok().filter(|time: &f64| (0.0..=60_000.0).contains(time));
    time.ok_or_else(|| "a number of milliseconds from 0 to 60000".to_owned())
}
