//! Arguments of `check`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{LookArguments, duration, recorded::LOOK_ONLY};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Percent of the limit from which on it is a warning
    #[arg(short, long, value_name = "PERCENT", default_value = "75", value_parser = share)]
    pub warning: f64,
    /// Percent of the limit from which on it is critical
    #[arg(short, long, value_name = "PERCENT", default_value = "90", value_parser = share)]
    pub critical: f64,
    /// Also warn if the table would be full within this time, as it grows now
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub time_to_full: Option<Duration>,
    /// Check the end of what 'ctwatch record' has recorded to this file instead; the counters behind the bar are then those
    /// within --for. --netns names a namespace by the name or number it was recorded with
    #[arg(long, value_name = "FILE", conflicts_with_all = LOOK_ONLY)]
    pub from: Option<PathBuf>,
    /// Time between the two readings, from 100ms to 1m
    #[arg(long = "for", value_name = "TIME", default_value = "1s", value_parser = between)]
    pub duration: Duration,
    /// How long all of it may take; who fills the table stays unnamed if it cannot be found out in that time
    #[arg(short = 't', long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    pub timeout: Duration,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim_end();
    let percent = number.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent
        .map(|percent: f64| percent / 100.0)
        .ok_or_else(|| "must be from 0 to 100 percent of the limit".to_owned())
}

fn between(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&time) {
        Ok(time)
    } else {
        Err("must be from 100ms to 1m".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_percentage() {
        assert_eq!((share("75"), share("90%"), share("0.5 %")), (Ok(0.75), Ok(0.9), Ok(0.005)));
        for wrong in ["", "%", "-1", "100.1", "NaN", "inf", "much"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
