//! Arguments of `agent`, from the command line and from a file.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser as _};
use toml::{Table, Value};

use super::{
    Cli, Command, LookArguments, RecordingBounds, Sort, duration, interval, recording::speed,
};
use crate::recording::player::Speed;

/// Arguments of `agent`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct AgentArguments {
    /// Where to serve metrics, health and snapshots over HTTP
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9476")]
    pub listen: SocketAddr,
    /// A file of these flags, one a line, as in: interval = "5s"; what is given on the command line goes before
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Time between two updates, from 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// How many sources have series of their own; the others are summed up
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub top: u32,
    /// Sources that hold fewer entries, open none and are not refused have no series
    #[arg(long, value_name = "ENTRIES", default_value_t = 10)]
    pub floor: u64,
    /// Which sources are listed first
    #[arg(long, value_enum, default_value_t = Sort::Entries)]
    pub sort: Sort,
    /// Walk the table at least so often for its states and destinations, see 'ctwatch watch --help'
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub census: Option<Duration>,
    /// Record what is seen too, as 'ctwatch record' does. A recording that is there becomes FILE.1, that becomes FILE.2, and
    /// so on
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How much is kept
    #[command(flatten)]
    pub bounds: RecordingBounds,
    /// Serve what was recorded as if it were seen now, and end when it is over
    #[arg(long, value_name = "RECORDING", conflicts_with_all = ["record", "interval", "sort", "census"])]
    pub from: Option<PathBuf>,
    /// How fast a recording is served: 1x as it was recorded, 10x ten times as fast
    #[arg(long, value_name = "SPEED", default_value = "1x", value_parser = speed)]
    pub speed: Speed,
    /// Where and how to look
    #[command(flatten)]
    pub look: LookArguments,
}

/// The flags that a file stands for. `config` itself may not be among them.
///
/// # Errors
///
/// What is wrong with the text, as a sentence.
pub fn flags(text: &str) -> Result<Vec<String>, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut flags = Vec::new();
    for (name, value) in table {
        if name == "config" {
            return Err("a file cannot name another one: 'config' is not allowed here".to_owned());
        }
        let flag = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Boolean(true) => flags.push(flag),
            Value::Boolean(false) => {}
            Value::String(value) => flags.push(format!("{flag}={value}")),
            Value::Integer(value) => flags.push(format!("{flag}={value}")),
            _ => return Err(format!("'{name}' must be a string, a whole number, true or false")),
        }
    }
    Ok(flags)
}

/// The arguments with those of the file in front of what the command line, `given` without the program and `agent`, says.
///
/// # Errors
///
/// If a flag is unknown or has a wrong value, as a sentence.
pub fn with_flags(
    flags: Vec<String>,
    given: impl Iterator<Item = OsString>,
) -> Result<AgentArguments, String> {
    let start = ["ctwatch", "agent"].into_iter().map(OsString::from);
    let words = start.chain(flags.into_iter().map(OsString::from)).chain(given);
    match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
        Command::Agent(arguments) => Ok(arguments),
        _ => Err("these are arguments of another command".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, given: &[&str]) -> Result<AgentArguments, String> {
        with_flags(flags(text)?, given.iter().map(OsString::from))
    }

    #[test]
    fn a_file_has_the_names_of_the_flags_and_the_command_line_goes_before() {
        let text = "interval = \"5s\"\ntop = 7\nnetns = \"all\"\nno_wait = true\nrecord = \"x\"\nfiles = 2\nmax_bytes = \"8M\"\n";
        let arguments = parse(text, &["--top", "9"]).unwrap();
        assert_eq!((arguments.interval, arguments.top), (Duration::from_secs(5), 9));
        assert!(arguments.look.no_wait && arguments.floor == 10);
        assert_eq!((arguments.bounds.files, arguments.bounds.max_bytes), (2, 8 << 20));
        assert!(!parse("no-wait = false", &[]).unwrap().look.no_wait);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        for (text, what) in [
            ("interval = \"soon\"", "--interval"),
            ("colour = true", "--colour"),
            ("top = 1.5", "'top' must be"),
            ("[agent]\ntop = 1", "'agent' must be"),
            ("config = \"x\"", "'config' is not allowed"),
            ("record = \"x\"\nfrom = \"y\"", "cannot be used with"),
            ("max_bytes = 5", "--max-bytes"),
            ("top = ", "line 1"),
        ] {
            let error = parse(text, &[]).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
