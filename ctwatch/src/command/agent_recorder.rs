//! The recording that the agent writes beside serving, on a thread of its own: a disk that is slow or full costs the recording
//! and nothing else.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::{look, recorder};
use crate::{
    model::{own, snapshot::Snapshot},
    recording::{
        item::{Beginning, Place},
        writer::{Bounds, Existing, Recorded, WriteError, Writer},
    },
};

/// Snapshots that wait for the disk at most; beyond that they are left out of the recording.
const WAITING: usize = 512;
/// A recording that failed is begun anew after so long.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What is recorded, and where to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The file.
    pub(super) path: PathBuf,
    /// How much is kept.
    pub(super) bounds: Bounds,
    /// What it says of itself, but for when it was begun.
    pub(super) beginning: Beginning,
}

/// Takes snapshots to be recorded. Dropping it ends the recording, without waiting for that.
#[derive(Debug)]
pub(super) struct Recorder {
    snapshots: SyncSender<(Arc<Snapshot>, Place)>,
    numbers: watch::Receiver<own::Recording>,
    ended: oneshot::Receiver<()>,
    left_out: u64,
}

impl Recorder {
    /// Begins.
    ///
    /// # Errors
    ///
    /// If there can be no thread. That nothing can be written is no error: it is said, counted, and tried again.
    pub(super) fn start(target: Target) -> io::Result<Self> {
        let (send, snapshots) = sync_channel(WAITING);
        let (told, numbers) = watch::channel(own::Recording::default());
        let (ending, ended) = oneshot::channel();
        let record = move || {
            let mut recording = Recording::begin(target, Instant::now());
            recording.keep_all(&snapshots, &told);
            recording.finish();
            // Nobody may wait for it any more.
            let _ = ending.send(());
        };
        thread::Builder::new().name("recorder".to_owned()).spawn(record)?;
        Ok(Self { snapshots: send, numbers, ended, left_out: 0 })
    }

    /// Records a snapshot, or counts it as left out; never waits.
    pub(super) fn keep(&mut self, snapshot: &Arc<Snapshot>, place: Place) {
        if self.snapshots.try_send((Arc::clone(snapshot), place)).is_err() {
            self.left_out += 1;
        }
    }

    /// What became of it so far.
    pub(super) fn numbers(&self) -> own::Recording {
        let numbers = *self.numbers.borrow();
        own::Recording { left_out: numbers.left_out + self.left_out, ..numbers }
    }

    /// Writes what is left, as long as that does not take too long.
    pub(super) async fn finish(self) {
        drop(self.snapshots);
        if tokio::time::timeout(look::READER_PATIENCE, self.ended).await.is_err() {
            look::say("the recording's disk takes too long: its end is not written");
        }
    }
}

/// A recording that is begun anew when it has failed.
struct Recording {
    target: Target,
    writer: Option<Writer>,
    retry_at: Instant,
    is_failure_said: bool,
    /// Of the writers before.
    earlier: Recorded,
    numbers: own::Recording,
}

impl Recording {
    fn begin(target: Target, now: Instant) -> Self {
        let mut recording = Self {
            target,
            writer: None,
            retry_at: now,
            is_failure_said: false,
            earlier: Recorded::default(),
            numbers: own::Recording::default(),
        };
        recording.try_to_begin(now);
        recording
    }

    fn keep_all(
        &mut self,
        snapshots: &Receiver<(Arc<Snapshot>, Place)>,
        told: &watch::Sender<own::Recording>,
    ) {
        loop {
            told.send_replace(self.numbers);
            let next = match self.writer.as_ref().and_then(Writer::due) {
                Some(due) => snapshots.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => snapshots.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok((snapshot, place)) => self.add(&snapshot, place, Instant::now()),
                Err(RecvTimeoutError::Timeout) => self.write(Instant::now(), Writer::flush),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn add(&mut self, snapshot: &Snapshot, place: Place, now: Instant) {
        if self.writer.is_none() && self.retry_at <= now {
            self.try_to_begin(now);
        }
        if self.writer.is_none() {
            self.numbers.left_out += 1;
        }
        self.write(now, |writer| writer.add(snapshot, place, now));
    }

    fn try_to_begin(&mut self, now: Instant) {
        let Target { path, bounds, beginning } = &self.target;
        let begun_wall_ns = recorder::beginning().begun_wall_ns;
        let beginning = Beginning { begun_wall_ns, ..beginning.clone() };
        match Writer::create(path, Existing::Precede, *bounds, beginning) {
            Ok(writer) => {
                let path = path.display();
                look::say(&format!(
                    "recording to {path}, at most {} files of {} bytes",
                    bounds.parts, bounds.part_bytes
                ));
                self.is_failure_said = false;
                self.writer = Some(writer);
                self.count();
            }
            Err(error) => self.failed(&error, now),
        }
    }

    fn write(&mut self, now: Instant, write: impl FnOnce(&mut Writer) -> Result<(), WriteError>) {
        let Some(writer) = &mut self.writer else { return };
        let written = write(writer);
        self.count();
        if let Err(error) = written {
            self.failed(&error, now);
        }
    }

    fn failed(&mut self, error: &WriteError, now: Instant) {
        if !self.is_failure_said {
            let again = RETRY_AFTER.as_secs();
            look::say(&format!("{error}; it is tried again every {again} s, serving goes on"));
            self.is_failure_said = true;
        }
        self.earlier = self.recorded();
        self.writer = None;
        self.retry_at = now + RETRY_AFTER;
        self.numbers.failures += 1;
        self.count();
    }

    /// What was recorded over all writers.
    fn recorded(&self) -> Recorded {
        let now = self.writer.as_ref().map(Writer::recorded).unwrap_or_default();
        Recorded {
            snapshots: self.earlier.snapshots + now.snapshots,
            events: self.earlier.events + now.events,
            bytes: self.earlier.bytes + now.bytes,
            full_parts: self.earlier.full_parts + now.full_parts,
        }
    }

    fn count(&mut self) {
        let Recorded { snapshots, bytes, .. } = self.recorded();
        self.numbers = own::Recording {
            is_written: self.writer.is_some(),
            snapshots,
            written_bytes: bytes,
            ..self.numbers
        };
    }

    fn finish(self) {
        if let Some(Err(error)) = self.writer.map(Writer::finish) {
            look::say(&error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::sample, recording::parts::Parts};

    const BOUNDS: Bounds = Bounds { part_bytes: 1 << 20, parts: 4 };

    #[test]
    fn one_that_cannot_be_written_is_counted_and_begun_anew_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not yet/recording");
        let target = Target { path: path.clone(), bounds: BOUNDS, beginning: Beginning::default() };
        let start = Instant::now();
        let mut recording = Recording::begin(target, start);
        assert_eq!(recording.numbers, own::Recording { failures: 1, ..Default::default() });
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let snapshot = sample::snapshot();
        for (after, left_out, snapshots) in [(RETRY_AFTER / 2, 1, 0), (RETRY_AFTER, 1, 1)] {
            recording.add(&snapshot, Place::LastOfInterval, start + after);
            let numbers = recording.numbers;
            assert_eq!((numbers.left_out, numbers.snapshots), (left_out, snapshots));
            assert_eq!(numbers.is_written, snapshots > 0);
        }
        assert!(recording.numbers.written_bytes > 0);
        recording.finish();
        assert_eq!(Parts::open(&path).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_was_handed_over_is_recorded_when_it_has_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let target = Target { path: path.clone(), bounds: BOUNDS, beginning: Beginning::default() };
        let mut recorder = Recorder::start(target).unwrap();
        let snapshot = Arc::new(sample::snapshot());
        (0..3).for_each(|_| recorder.keep(&snapshot, Place::LastOfInterval));
        recorder.finish().await;
        let mut parts = Parts::open(&path).unwrap();
        assert_eq!(parts.by_ref().count(), 3);
        assert_eq!(parts.defects(), Vec::<String>::new());
    }
}
