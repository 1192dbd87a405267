//! Arguments of `blocklist`: how long to look, who is listed, and how that is written down.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::PossibleValuesParser};

use super::{LookArguments, ProtectedArguments, duration, recorded::LOOK_ONLY};
use crate::blocklist::{
    formats::{self, FORMATS, Format},
    policy::Policy,
    ruleset::ELEMENTS_MAX,
};

/// A block ends by itself within this time.
const EXPIRY_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Arguments of `blocklist`.
#[derive(Debug, Args)]
pub struct BlocklistArguments {
    /// How to write it down
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(FORMATS.iter().map(possible_value)))]
    format: String,
    /// Write the files that the format's program needs once into this directory, instead of looking
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "output")]
    pub files: Option<PathBuf>,
    /// Write it to this file, which is replaced at once, and left as it is if the look fails
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Take what 'ctwatch record' has recorded to this file, instead of looking; --netns names a namespace by the name or
    /// number it was recorded with. Whom never to block is asked of this machine, now
    #[arg(long, value_name = "FILE", conflicts_with = "files", conflicts_with_all = LOOK_ONLY)]
    pub from: Option<PathBuf>,
    /// How long to look; with --from, how much of the end of the recording to take
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Who is listed
    #[command(flatten)]
    pub policy: PolicyArguments,
    /// Whom never to block
    #[command(flatten)]
    pub protected: ProtectedArguments,
    /// Where and how to look
    #[command(flatten, next_help_heading = "Where and how to look")]
    pub look: LookArguments,
}

impl BlocklistArguments {
    /// How to write it down; clap has let through no other name.
    pub fn format(&self) -> Option<&'static Format> {
        formats::by_name(&self.format)
    }
}

/// Who is listed. IPv6 is judged by the /64.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who is listed")]
pub struct PolicyArguments {
    /// Who holds, or asks for, at least this share of the table, or of all that is asked for; with 0 the next two decide alone
    #[arg(long, value_name = "PERCENT", default_value = "20", value_parser = share)]
    share: f64,
    /// And holds at least so many entries
    #[arg(long, value_name = "N", default_value_t = Policy::default().entries_min)]
    min_entries: u64,
    /// Or asks for at least so many a second, those refused included
    #[arg(long, value_name = "N", default_value_t = Policy::default().asked_per_s_min)]
    min_rate: u64,
    /// While at least so many packets of others were refused, or entries of others thrown out; 0 asks for no harm
    #[arg(long, value_name = "N", default_value_t = Policy::default().harm_min)]
    harm: u64,
    /// Only if nobody has answered at least this share of its entries
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = share)]
    unreplied: f64,
    /// After so many seconds in a row; in a look of more than a minute, sixtieths of it
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=60))]
    intervals: u8,
    /// Until it is below this part of the thresholds again
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = share)]
    leave_at: f64,
    /// List an IPv4 prefix of this length where several of its addresses, or all together, are over the thresholds
    #[arg(long, value_name = "LENGTH", value_parser = clap::value_parser!(u8).range(8..=31))]
    aggregate: Option<u8>,
    /// The same for IPv6, where several /64s are
    #[arg(long, value_name = "LENGTH", value_parser = clap::value_parser!(u8).range(32..=63))]
    aggregate6: Option<u8>,
    /// How long each is kept out, from 1s to 30 days
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = expiry)]
    expiry: Duration,
    /// The most that are listed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=ELEMENTS_MAX as i64))]
    max_blocks: u32,
    /// The largest part of all sources seen that may be kept out; one always may
    #[arg(long, value_name = "PERCENT", default_value = "25", value_parser = share)]
    max_share: f64,
}

impl PolicyArguments {
    /// As a policy.
    pub fn policy(&self) -> Policy {
        Policy {
            share_min: self.share,
            entries_min: self.min_entries,
            asked_per_s_min: self.min_rate,
            unreplied_share_min: self.unreplied,
            intervals_min: self.intervals.into(),
            leave_at: self.leave_at,
            harm_min: self.harm,
            aggregate_ipv4: self.aggregate,
            aggregate_ipv6: self.aggregate6,
            expiry: self.expiry,
            blocks_max: usize::try_from(self.max_blocks).unwrap_or(ELEMENTS_MAX),
            sources_share_max: self.max_share,
        }
    }
}

fn possible_value(format: &Format) -> clap::builder::PossibleValue {
    clap::builder::PossibleValue::new(format.name).help(format.what)
}

/// A percentage, as a share from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "a percentage is a number from 0 to 100".to_owned())
}

fn expiry(text: &str) -> Result<Duration, String> {
    let whole = Duration::from_secs(duration(text)?.as_secs());
    if (Duration::from_secs(1)..=EXPIRY_MAX).contains(&whole) {
        Ok(whole)
    } else {
        Err("a block lasts from 1s to 720h, which is 30 days".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(arguments: &[&str]) -> Result<BlocklistArguments, clap::Error> {
        let all = ["ctwatch", "blocklist", "--format", "plain"].iter().chain(arguments);
        match Cli::try_parse_from(all)?.command {
            Command::Blocklist(arguments) => Ok(*arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_arguments_the_policy_is_the_default_one() {
        let arguments = parsed(&[]).unwrap();
        assert_eq!(arguments.policy.policy(), Policy::default());
        assert_eq!(arguments.format().map(|format| format.name), Some("plain"));
    }

    #[test]
    fn every_argument_of_the_policy_arrives() {
        let policy = parsed(&[
            "--share",
            "5%",
            "--min-entries",
            "7",
            "--min-rate",
            "8",
            "--harm",
            "9",
            "--unreplied",
            "12.5",
            "--intervals",
            "2",
            "--leave-at",
            "40",
            "--aggregate",
            "24",
            "--aggregate6",
            "56",
            "--expiry",
            "1h",
            "--max-blocks",
            "3",
            "--max-share",
            "50",
        ])
        .unwrap()
        .policy
        .policy();
        let expected = Policy {
            share_min: 0.05,
            entries_min: 7,
            asked_per_s_min: 8,
            unreplied_share_min: 0.125,
            intervals_min: 2,
            leave_at: 0.4,
            harm_min: 9,
            aggregate_ipv4: Some(24),
            aggregate_ipv6: Some(56),
            expiry: Duration::from_secs(3600),
            blocks_max: 3,
            sources_share_max: 0.5,
        };
        assert_eq!(policy, expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--share", "101"],
            ["--share", "NaN"],
            ["--share", "-1"],
            ["--intervals", "0"],
            ["--expiry", "0s"],
            ["--expiry", "500ms"],
            ["--expiry", "721h"],
            ["--aggregate", "32"],
            ["--aggregate", "7"],
            ["--aggregate6", "64"],
            ["--max-blocks", "0"],
            ["--max-blocks", "131073"],
            ["--format", "word"],
            ["--allow", "10.0.0.1/8"],
            ["--proxy", "here"],
        ] {
            assert!(parsed(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_recording_is_not_looked_at_in_any_way() {
        assert!(parsed(&["--from", "outage.ctw", "--netns", "gateway", "--for", "1m"]).is_ok());
        for wrong in [
            &["--attach", "auto"][..],
            &["--no-wait"],
            &["--max-sources", "9"],
            &["--ring-bytes", "65536"],
            &["--netlink-buffer-bytes", "65536"],
            &["--bpf-object", "file"],
            &["--files", "folder"],
        ] {
            let error = parsed(&[&["--from", "outage.ctw"], wrong].concat()).unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict, "{wrong:?}");
        }
    }
}
