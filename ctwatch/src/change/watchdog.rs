//! The watchdog: a process of its own that undoes a change set unless somebody confirms it in time. It outlives `apply`, its
//! terminal and its session, and needs nothing but the journal.

use std::{
    fs::OpenOptions,
    io::{self, BufRead as _, BufReader, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::setsid,
    stdio::dup2_stdout,
};

use super::{
    journal::{Journal, JournalError},
    ledger::ChangeSet,
    record::{SetId, UndoneBy},
    state::{State, StateError},
    undo::{Foreign, Undoing, undo, undo_remembered},
};
use crate::{clock, host::boot};

/// The subcommand that is the watchdog; it is not for people.
pub const SUBCOMMAND: &str = "watchdog";
/// What it says when it is there to undo.
const READY: &str = "ready";
/// How long its start may take: a machine in an outage is slow.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks whether it is still needed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it tries anew to undo what cannot be undone.
const TRIES: u32 = 3600;

/// Starts the watchdog of a change set that has begun, and waits until it is there.
///
/// # Errors
///
/// It cannot be started, in words. Then nothing would undo the change.
pub fn start(state: &State, set: SetId) -> Result<(), String> {
    let failed = |error: io::Error| format!("it cannot be started: {error}");
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let log = options.open(state.watchdog_log()).map_err(failed)?;
    // The program that runs, even if its file has been replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args([SUBCOMMAND, "--set", &set.to_string(), "--state-dir"])
        .arg(state.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let ready = child.stdout.take().map(|stdout| is_ready(BufReader::new(stdout)));
    if ready == Some(true) {
        return Ok(());
    }
    // It must not undo later what will not have been done.
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("it did not start; it may have said why in {}", state.watchdog_log().display()))
}

fn is_ready(mut stdout: BufReader<std::process::ChildStdout>) -> bool {
    let pipe = stdout.get_ref().as_fd();
    let patience = Timespec { tv_sec: START_PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut waiting = [PollFd::new(&pipe, PollFlags::IN)];
    // A signal ends the wait early: what it is then is said by reading, which a killed child ends.
    let is_there = poll(&mut waiting, Some(&patience)).is_ok_and(|ready| ready > 0);
    let mut line = String::new();
    is_there && stdout.read_line(&mut line).is_ok() && line.trim_end() == READY
}

/// Why a watchdog cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// There is nothing of that number that has to be confirmed.
    #[error("change set {0} has nothing to be confirmed")]
    NothingToWatch(SetId),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system refused.
    #[error("cannot watch")]
    System(#[from] io::Error),
}

/// Is the watchdog of a change set: leaves the session, says that it is there, and waits until the set is confirmed, undone,
/// or overdue; then it undoes it. What somebody else has changed it leaves.
///
/// # Errors
///
/// It cannot begin. Later errors are said and tried again.
pub fn run(state: &State, set: SetId) -> Result<(), WatchdogError> {
    // A new child leads no group, so this works; from then on no terminal's end reaches it.
    setsid().map_err(io::Error::from)?;
    let boot = boot::id()?;
    let mut watched = read(state, set, &boot)?.ok_or(WatchdogError::NothingToWatch(set))?;
    keep_from_being_killed_for_memory();
    writeln!(io::stdout(), "{READY}")?;
    dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?).map_err(io::Error::from)?;
    let deadline_ns = watched.began.deadline.map_or(0, |deadline| deadline.boottime_ns);
    while clock::boottime_ns() < deadline_ns {
        let left = Duration::from_nanos(deadline_ns.saturating_sub(clock::boottime_ns()));
        pause(left.min(LOOK_EVERY));
        match read(state, set, &boot) {
            Ok(Some(now)) => watched = now,
            Ok(None) => return Ok(()),
            // It may be readable again in time.
            Err(_) => {}
        }
    }
    for _ in 0..TRIES {
        if revert(state, &watched, &boot) {
            break;
        }
        pause(LOOK_EVERY);
    }
    Ok(())
}

/// The set, if it still has to be confirmed.
fn read(state: &State, set: SetId, boot: &str) -> Result<Option<ChangeSet>, JournalError> {
    // Reading a file asks for no namespace.
    let mut machine = super::machine::Machine::new(None);
    let journal = Journal::open(&mut machine, state.journal())?;
    let found = journal.ledger().set(set).filter(|set| set.awaits_confirmation());
    Ok(found.filter(|set| set.began.place.boot == boot).cloned())
}

/// Undoes it; whether that is settled.
fn revert(state: &State, watched: &ChangeSet, boot: &str) -> bool {
    let id = watched.id();
    // Somebody who confirms or undoes right now comes first.
    let Ok(_lock) = state.lock().inspect_err(|error| say(id, &error.to_string())) else {
        return false;
    };
    let mut machine = watched.began.place.machine(boot);
    let at_ms = clock::wall_ms();
    let undoing = Undoing { by: UndoneBy::Watchdog, foreign: Foreign::LeaveBut(""), at_ms, boot };
    let undone = match Journal::open(&mut machine, state.journal()) {
        Ok(mut journal) => {
            let awaits = journal.ledger().set(id).is_some_and(ChangeSet::awaits_confirmation);
            if !awaits {
                return true;
            }
            undo(id, &mut journal, &mut machine, &undoing).map_err(|error| error.to_string())
        }
        // Nobody can have confirmed in a journal that cannot be read.
        Err(error) => {
            say(id, &format!("{error}; undone from what is remembered of it"));
            Ok(undo_remembered(watched, &mut machine, &undoing))
        }
    };
    match undone {
        Ok(undone) => {
            let left =
                if undone.left.is_empty() { "nothing".to_owned() } else { undone.left.join("; ") };
            say(
                id,
                &format!(
                    "nobody confirmed in time; restored: {}; left: {left}",
                    undone.restored.join(", ")
                ),
            );
            if let Some(why) = &undone.unnoted {
                say(id, &format!("the journal could not be told: {why}"));
            }
            undone.is_complete
        }
        Err(error) => {
            say(id, &error);
            false
        }
    }
}

/// Into the log.
fn say(set: SetId, sentence: &str) {
    let at = jiff::Timestamp::from_millisecond(clock::wall_ms()).unwrap_or_default();
    // If the disk is full there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{at:.0} change set {set}: {sentence}");
}

/// The kernel ends processes when memory runs out, which is when this one is needed (proc_pid_oom_score_adj(5)). Without the
/// privilege it stays as it is.
fn keep_from_being_killed_for_memory() {
    let file = OpenOptions::new().write(true).open(Path::new("/proc/self/oom_score_adj"));
    let _ = file.and_then(|mut file| file.write_all(b"-1000"));
}

fn pause(length: Duration) {
    let length = Timespec {
        tv_sec: i64::try_from(length.as_secs()).unwrap_or(1),
        tv_nsec: i64::from(length.subsec_nanos()),
    };
    // A signal ends it early; whoever waits looks at the clock.
    let _ = poll(&mut [], Some(&length));
}
