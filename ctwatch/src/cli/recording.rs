//! Arguments of `record` and `replay`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use ipnet::IpNet;

use super::{LookArguments, Sort, duration, events, interval, sources};
use crate::recording::{player::Speed, writer::Bounds};

/// What a part holds at least, so that one block of what can be listed fits.
const PART_BYTES_MIN: u64 = 1 << 20;

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArguments {
    /// Where to record to. It must not be there yet; only its owner can read it, as it says who talks to whom
    pub file: PathBuf,
    /// Print the same as JSON too, one object a line, as 'watch --json' does
    #[arg(long)]
    pub json: bool,
    /// Time between two snapshots, from 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How many sources to list, up to 100000; the others are summed up
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = listed)]
    pub top: usize,
    /// What to order the sources by; new and refused go by the last interval
    #[arg(long, value_enum, default_value_t = Sort::Entries)]
    pub sort: Sort,
    /// List only these sources, and count only their destinations
    #[arg(long, value_name = "ADDR|CIDR", value_parser = sources)]
    pub source: Option<IpNet>,
    /// Walk the table at least so often, see 'ctwatch watch --help'
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub census: Option<Duration>,
    /// Which events to keep, see 'ctwatch events --help'
    #[arg(long, value_enum, value_delimiter = ',', default_value = events::RARE)]
    pub kind: Vec<events::Kind>,
    /// How much is kept
    #[command(flatten)]
    pub bounds: RecordingBounds,
    /// Replace a recording that is there; never anything else
    #[arg(long)]
    pub overwrite: bool,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

/// How much of a recording is kept.
#[derive(Clone, Copy, Debug, Args)]
pub struct RecordingBounds {
    /// Bytes of a recording's file at most, as in 64M or 1G. When it is full it becomes FILE.1, that becomes FILE.2, and so on
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = part_bytes)]
    pub max_bytes: u64,
    /// How many files of a recording to keep; when there are more the oldest one is deleted
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub files: u32,
}

impl From<RecordingBounds> for Bounds {
    fn from(bounds: RecordingBounds) -> Self {
        Self { part_bytes: bounds.max_bytes, parts: bounds.files }
    }
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The recording; FILE.1, FILE.2 and so on beside it are replayed before it
    pub file: PathBuf,
    /// Print JSON, one object a line: what 'watch --json' would have printed
    #[arg(long)]
    pub json: bool,
    /// Show the events instead, as 'ctwatch events' does
    #[arg(long)]
    pub events: bool,
    /// How fast: 1x as it was recorded, 10x ten times as fast, or max. On a terminal it is 1x unless told otherwise
    #[arg(long, value_name = "SPEED", value_parser = speed)]
    pub speed: Option<Speed>,
    /// How many sources to list at most; with --json all that were recorded unless told otherwise
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
}

fn listed(text: &str) -> Result<usize, String> {
    let listed = text.parse().ok().filter(|listed| *listed <= 100_000);
    listed.ok_or_else(|| "a number of sources from 0 to 100000".to_owned())
}

fn part_bytes(text: &str) -> Result<u64, String> {
    let wrong = "a number of bytes from 1M on; write for example 64M or 1G";
    let units = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
    let (digits, unit) = units
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .unwrap_or((text, 1));
    let bytes = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes >= PART_BYTES_MIN).ok_or_else(|| wrong.to_owned())
}

pub(super) fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.strip_suffix('x').and_then(|times| times.parse().ok());
    times
        .filter(|times: &f64| (0.001..=1e6).contains(times))
        .map(Speed::Times)
        .ok_or_else(|| "write for example 1x, 0.5x, 10x or max".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_speeds_an_x() {
        assert_eq!((part_bytes("64M"), part_bytes("2097152")), (Ok(64 << 20), Ok(2 << 20)));
        assert_eq!(speed("2.5x"), Ok(Speed::Times(2.5)));
        for wrong in ["", "M", "1023K", "-1M", "20000000000G", "64MB", "1é"] {
            assert!(part_bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "x", "0x", "-1x", "10", "infx", "NaNx"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }
}
