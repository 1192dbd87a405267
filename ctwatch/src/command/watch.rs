//! `ctwatch watch`: a table or a JSON object once an interval.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::time::Instant;

use super::look::{self, Interrupts, Patience};
use crate::{
    cli::WatchArguments,
    exit::CommandError,
    model::{aggregator::Limits, snapshot::Snapshot},
    output::{json, text},
};

/// Sources remembered beyond those that have a row in the kernel.
pub const REMEMBERED_SOURCES: usize = 262_144;

/// Cursor to the top left, and clear from there.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Runs until it is told to stop, the duration is over, or the output is closed.
///
/// # Errors
///
/// If it cannot begin, or the table can no longer be read.
pub async fn run(arguments: &WatchArguments) -> Result<(), CommandError> {
    let limits = Limits {
        listed_sources: arguments.top,
        sort_by: arguments.sort.into(),
        events: 0,
        remembered_sources: REMEMBERED_SOURCES,
    };
    let patience =
        if arguments.once || arguments.look.no_wait { Patience::End } else { Patience::Wait };
    let mut interrupts = Interrupts::new()?;
    let opened =
        look::open(&arguments.look, arguments.interval, limits, patience, &mut interrupts).await?;
    let Some(mut session) = opened else { return Ok(()) };
    let deadline = arguments.duration.map(|duration| Instant::now() + duration);
    let mut first = true;
    loop {
        let snapshot = tokio::select! {
            biased;
            () = interrupts.received() => return Ok(()),
            () = look::at(deadline) => return Ok(()),
            next = session.next() => match next.map_err(look::session_error)? {
                Some(snapshot) => snapshot,
                None => return Ok(()),
            },
        };
        if std::mem::take(&mut first) {
            look::report_mode(&snapshot, arguments.look.attach)?;
        }
        print(&snapshot, arguments)?;
        if arguments.once {
            return Ok(());
        }
    }
}

fn print(snapshot: &Snapshot, arguments: &WatchArguments) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", json::snapshot(snapshot))?;
    } else {
        let clear = if stdout.is_terminal() && !arguments.once { CLEAR } else { "" };
        write!(stdout, "{clear}{}", text::snapshot(snapshot))?;
        if clear.is_empty() && !arguments.once {
            writeln!(stdout)?;
        }
    }
    stdout.flush()
}
