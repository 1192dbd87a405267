//! One line on a terminal that says how far something is that takes long. Where standard error is no terminal nothing is said,
//! and whatever else is said there takes the line away first.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::termios::tcgetwinsize;
use tokio::time::Instant;

/// What is over sooner needs no line.
const DELAY: Duration = Duration::from_secs(1);
/// Between two updates of it.
const REFRESH: Duration = Duration::from_millis(200);
/// To the beginning of the line, and it is empty.
const CLEAR: &[u8] = b"\r\x1b[K";
/// Columns where the terminal does not tell.
const COLUMNS: usize = 80;

/// Whether a line is on the terminal now; there is one terminal, and so one line.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// The line. When it is dropped it goes.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    /// When it is to be shown next; `None` where it never is.
    due: Option<Instant>,
}

impl Progress {
    /// From now on.
    pub fn begin() -> Self {
        let begun = Instant::now();
        let is_dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        let is_shown = io::stderr().is_terminal() && !is_dumb;
        Self { begun, due: is_shown.then(|| begun + DELAY) }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits until it is time to say how far it is, which never comes where nobody reads it. Safe to be dropped.
    pub async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Says how far it is, if it is time for that.
    pub fn tell(&mut self, how_far: impl FnOnce(Duration) -> String) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = Some(now + REFRESH);
        let columns = tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { COLUMNS } else { columns };
        // The last column is left free: some terminals go to the next line there.
        let line: String = how_far(self.elapsed()).chars().take(columns - 1).collect();
        let mut stderr = io::stderr().lock();
        // A terminal that is gone reads nothing.
        let _ = stderr
            .write_all(CLEAR)
            .and_then(|()| stderr.write_all(line.as_bytes()))
            .and_then(|()| stderr.flush());
        IS_SHOWN.store(true, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        clear();
    }
}

/// Takes the line away, before anything else is written.
pub fn clear() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(CLEAR).and_then(|()| stderr.flush());
    }
}

/// Waits for `work`, and says meanwhile what is done and for how long.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut progress = Progress::begin();
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = progress.due() => {
                progress.tell(|elapsed| format!("{what}, for {} s", elapsed.as_secs()));
            }
        }
    }
}
