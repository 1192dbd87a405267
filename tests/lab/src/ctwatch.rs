//! The binary under test: start it, read its JSON lines as they come, stop it, and see how it ended. It must not know
//! what the lines mean.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait;

/// The environment variable that names the binary under test.
pub const BINARY: &str = "CTWATCH";

/// How many lines may wait to be looked at: more than a test makes, and bounded.
const LINES_WAITING: usize = 65_536;

/// The binary to test: the one that `CTWATCH` names, else `built`.
#[must_use]
pub fn binary(built: &str) -> PathBuf {
    std::env::var_os(BINARY).map_or_else(|| PathBuf::from(built), PathBuf::from)
}

/// One line of its standard output.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// What it holds.
    pub json: Value,
}

/// A running ctwatch. Dropping it kills it.
#[derive(Debug)]
pub struct Ctwatch {
    child: Child,
    incoming: Receiver<(Instant, String)>,
    lines: Vec<Line>,
    looked_at: usize,
    reader: Option<JoinHandle<()>>,
    stderr: Receiver<String>,
    said: String,
}

/// How a ctwatch ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All JSON lines it printed.
    pub lines: Vec<Line>,
    /// What it said on stderr.
    pub stderr: String,
}

impl Ctwatch {
    /// Starts `binary` with `arguments`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(binary: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("a piped child has a stdout")?;
        let stderr = child.stderr.take().context("a piped child has a stderr")?;
        let (outgoing, incoming) = sync_channel(LINES_WAITING);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if outgoing.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        let (saying, heard) = sync_channel(LINES_WAITING);
        std::thread::spawn(move || {
            // It ends when nobody listens any more, or there is nothing more to hear.
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if saying.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            incoming,
            lines: Vec::new(),
            looked_at: 0,
            reader: Some(reader),
            stderr: heard,
            said: String::new(),
        })
    }

    /// Runs `binary` with `arguments` until it ends by itself, at most for `patience`.
    ///
    /// # Errors
    /// When it cannot be started, prints a line that is no JSON, or does not end in time.
    pub fn run(binary: &Path, arguments: &[&str], patience: Duration) -> Result<Ended> {
        Self::start(binary, arguments)?.ended(patience)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines seen so far.
    ///
    /// # Errors
    /// When a line is no JSON.
    pub fn lines(&mut self) -> Result<&[Line]> {
        while let Ok(line) = self.incoming.try_recv() {
            self.take(line)?;
        }
        Ok(&self.lines)
    }

    /// Takes all lines that have come as looked at, so that [`Ctwatch::next`] and [`Ctwatch::find`] see later ones only.
    ///
    /// # Errors
    /// When a line is no JSON.
    pub fn forget(&mut self) -> Result<()> {
        self.looked_at = self.lines()?.len();
        Ok(())
    }

    /// The first line that was not looked at yet.
    ///
    /// # Errors
    /// When none comes within `patience`, ctwatch ends, or the line is no JSON.
    pub fn next(&mut self, patience: Duration) -> Result<Line> {
        self.find(patience, "the next line", |line| Ok(Some(line.clone())))
    }

    /// Looks at each line that was not looked at yet, until `look` returns a value.
    ///
    /// # Errors
    /// When that does not happen within `patience` (the error has `what`, the last line and stderr if it ended), or when
    /// `look` fails.
    pub fn find<T>(
        &mut self,
        patience: Duration,
        what: &str,
        mut look: impl FnMut(&Line) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            while let Some(line) = self.lines.get(self.looked_at) {
                self.looked_at += 1;
                if let Some(found) = look(line)? {
                    return Ok(found);
                }
            }
            self.receive(deadline, patience, what)?;
        }
    }

    /// Waits until it says something with `words` on stderr.
    ///
    /// # Errors
    /// When it does not within `patience`, or ends before.
    pub fn hear(&mut self, patience: Duration, words: &str) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !self.said.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stderr.recv_timeout(left).with_context(|| {
                format!("waited in vain for {words:?} on stderr, which has: {}", self.said)
            })?;
            self.said.push_str(&line);
            self.said.push('\n');
        }
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a child has a process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to ctwatch"))
    }

    /// Asks it to stop as Ctrl-C does, and waits for its end.
    ///
    /// # Errors
    /// When it does not end within [`wait::PATIENCE`].
    pub fn stop(self) -> Result<Ended> {
        self.signal(Signal::INT)?;
        self.ended(wait::PATIENCE)
    }

    /// Kills it: it cannot clean up.
    ///
    /// # Errors
    /// When it does not end within [`wait::PATIENCE`].
    pub fn kill(self) -> Result<Ended> {
        self.signal(Signal::KILL)?;
        self.ended(wait::PATIENCE)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `patience`, or printed a line that is no JSON.
    pub fn ended(mut self, patience: Duration) -> Result<Ended> {
        let deadline = Instant::now() + patience;
        let status = loop {
            // Its output is taken while it runs, or it would wait for room in the pipe.
            self.lines()?;
            if let Some(status) = self.child.try_wait().context("cannot wait for ctwatch")? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!("ctwatch has not ended after {} s", patience.as_secs_f64());
            }
            wait::pause(Duration::from_millis(10));
        };
        while let Ok(line) = self.incoming.recv() {
            self.take(line)?;
        }
        let stderr = self.take_stderr();
        Ok(Ended { status, lines: std::mem::take(&mut self.lines), stderr })
    }

    fn receive(&mut self, deadline: Instant, patience: Duration, what: &str) -> Result<()> {
        match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => self.take(line),
            Err(RecvTimeoutError::Timeout) => {
                let last = self
                    .lines
                    .last()
                    .map_or_else(|| "none".to_owned(), |line| line.json.to_string());
                bail!("waited {} s in vain for {what}; last line: {last}", patience.as_secs_f64());
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().context("cannot wait for ctwatch")?;
                bail!("ctwatch ended with {status} before {what}; stderr: {}", self.take_stderr());
            }
        }
    }

    fn take(&mut self, (at, text): (Instant, String)) -> Result<()> {
        let json = serde_json::from_str(&text)
            .with_context(|| format!("ctwatch printed a line that is no JSON: {text}"))?;
        self.lines.push(Line { at, json });
        Ok(())
    }

    fn take_stderr(&mut self) -> String {
        while let Ok(line) = self.stderr.recv() {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        std::mem::take(&mut self.said)
    }
}

impl Drop for Ctwatch {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = self.child.kill();
            let _reaped = self.child.wait();
        }
        // The reader ends when nobody takes its lines; it may wait in a full channel until then.
        let (_closed, unconnected) = sync_channel(1);
        self.incoming = unconnected;
        if let Some(reader) = self.reader.take() {
            let _panicked = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Ctwatch {
        Ctwatch::start(Path::new("/bin/sh"), &["-c", script]).unwrap()
    }

    #[test]
    fn lines_stderr_and_status_are_collected() {
        let ended = shell("echo '{\"a\":1}'; echo talk >&2; echo '{\"a\":2}'; exit 77")
            .ended(wait::PATIENCE)
            .unwrap();
        let values: Vec<_> =
            ended.lines.iter().map(|line| line.json["a"].as_u64().unwrap()).collect();
        assert_eq!(
            (values, ended.status.code(), ended.stderr.as_str()),
            (vec![1, 2], Some(77), "talk\n")
        );
    }

    #[test]
    fn a_line_is_found_as_it_comes() {
        let mut running = shell("echo '{\"a\":1}'; echo '{\"a\":2}'; exec sleep 60");
        let found = running
            .find(wait::PATIENCE, "a two", |line| Ok((line.json["a"] == 2).then_some(line.at)));
        assert!(found.unwrap() <= Instant::now());
        assert_eq!(running.kill().unwrap().status.code(), None);
    }

    #[test]
    fn what_it_says_is_heard_as_it_comes() {
        let mut running = shell("echo 'looking on' >&2; echo '{\"a\":1}'; exec sleep 60");
        running.hear(wait::PATIENCE, "looking").unwrap();
        let ended = running.kill().unwrap();
        assert_eq!((ended.stderr.as_str(), ended.lines.len()), ("looking on\n", 1));
        let error = shell("exit 1").hear(wait::PATIENCE, "anything").unwrap_err().to_string();
        assert!(error.contains("anything"), "{error}");
    }

    #[test]
    fn an_early_end_says_what_it_said() {
        let mut running = shell("echo 'no such namespace' >&2; exit 1");
        let error = running.next(wait::PATIENCE).unwrap_err().to_string();
        assert!(error.contains("no such namespace") && error.contains("status: 1"), "{error}");
    }
}
