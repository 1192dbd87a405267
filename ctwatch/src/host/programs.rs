//! Runs the few programs that list firewall rules, which no file of the kernel shows; each is named here with its arguments,
//! and none of them changes anything.

use std::{
    env,
    io::{self, Read as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::blocklist::ruleset;

/// A rule set that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// nft lists 100,000 blocks in 3 to 5 seconds; whoever asks for them wants them even from a busy gateway.
const PATIENCE_FOR_BLOCKS: Duration = Duration::from_secs(60);
/// The most that is read of what a program prints.
const OUTPUT_BYTES_MAX: u64 = 256 << 20;
/// Where these programs are, also where an ordinary user's PATH does not look.
const DIRECTORIES: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// A program that only reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The rules of nf_tables, as JSON.
    Nft,
    /// Those of ctwatch's own table, as JSON.
    OwnTable,
    /// The rules of one of the older tables; the first of these programs knows no others.
    IptablesLegacy,
    /// The same where there is only one kind of iptables.
    Iptables,
    /// As [`Self::IptablesLegacy`], for IPv6.
    Ip6tablesLegacy,
    /// As [`Self::Iptables`], for IPv6.
    Ip6tables,
}

impl Reader {
    /// The program's name.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Nft | Self::OwnTable => "nft",
            Self::IptablesLegacy => "iptables-legacy-save",
            Self::Iptables => "iptables-save",
            Self::Ip6tablesLegacy => "ip6tables-legacy-save",
            Self::Ip6tables => "ip6tables-save",
        }
    }

    const fn arguments(self) -> &'static [&'static str] {
        match self {
            // Addresses are printed as numbers unless asked for otherwise, so no name is looked up.
            Self::Nft => &["-j", "list", "ruleset"],
            Self::OwnTable => &["-j", "list", "table", ruleset::FAMILY, ruleset::TABLE],
            Self::IptablesLegacy | Self::Iptables | Self::Ip6tablesLegacy | Self::Ip6tables => {
                &["-t"]
            }
        }
    }

    const fn patience(self) -> Duration {
        match self {
            Self::OwnTable => PATIENCE_FOR_BLOCKS,
            _ => PATIENCE,
        }
    }
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// It is not installed.
    #[error("{0} is not installed")]
    NotInstalled(&'static str),
    /// It cannot be started or read.
    #[error("cannot run {program}: {source}")]
    Run {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It says that it failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// The program.
        program: &'static str,
        /// The first line that it said.
        said: String,
    },
    /// It did not end.
    #[error("{program} took longer than {patience:?}")]
    TooSlow {
        /// The program.
        program: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
}

/// Runs a program in the namespace of the calling thread and returns what it printed. `table` goes to the programs that ask for one.
///
/// # Errors
///
/// It is not installed, cannot be run, fails, or takes too long.
pub fn output(reader: Reader, table: Option<&str>) -> Result<String, ReaderError> {
    let program = reader.program();
    let mut command = command(program);
    command.args(reader.arguments()).args(table).stdin(Stdio::null());
    let Ended { succeeded, printed, complained } = run(command, program, reader.patience())?;
    if succeeded {
        return Ok(String::from_utf8_lossy(&printed).into_owned());
    }
    let said = complained.lines().next().unwrap_or("it did not say why").trim().to_owned();
    Err(ReaderError::Failed { program, said })
}

/// What came of running a program.
pub(crate) struct Ended {
    /// Whether it says that all is well.
    pub(crate) succeeded: bool,
    /// Its standard output.
    pub(crate) printed: Vec<u8>,
    /// The beginning of its standard error.
    pub(crate) complained: String,
}

/// A program that is found where an administrator has it, and speaks no other language than English.
pub(crate) fn command(program: &'static str) -> Command {
    let path = env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.env_clear().env("PATH", format!("{path}:{DIRECTORIES}")).env("LC_ALL", "C");
    command
}

/// Runs a command to its end, or kills it when that takes longer than `patience`.
///
/// # Errors
///
/// It is not installed, cannot be run, or takes too long.
pub(crate) fn run(
    mut command: Command,
    program: &'static str,
    patience: Duration,
) -> Result<Ended, ReaderError> {
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ReaderError::NotInstalled(program),
        _ => ReaderError::Run { program, source },
    })?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::spawn(move || {
        let mut said = [Vec::new(), Vec::new()];
        let [printed, complained] = &mut said;
        // It complains a line or two, which the pipe holds, so one can be read after the other.
        let read = stdout
            .map_or(Ok(0), |stdout| stdout.take(OUTPUT_BYTES_MAX).read_to_end(printed))
            .and_then(|_| stderr.map_or(Ok(0), |stderr| stderr.take(4096).read_to_end(complained)));
        // Nobody listens any more if it took too long.
        drop(sender.send(read.map(|_| said)));
    });
    let said = receiver.recv_timeout(patience);
    if said.is_err() {
        // It may have ended by itself just now.
        drop(child.kill());
    }
    let run_error = |source| ReaderError::Run { program, source };
    let status = child.wait().map_err(run_error)?;
    let [printed, complained] =
        said.map_err(|_| ReaderError::TooSlow { program, patience })?.map_err(run_error)?;
    let complained = String::from_utf8_lossy(&complained).into_owned();
    Ok(Ended { succeeded: status.success(), printed, complained })
}
