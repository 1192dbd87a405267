//! Keeps what a command sees in a file. Compressing and writing is done on a thread of its own: a disk that is slow blocks that
//! one only.

use std::{path::Path, sync::Arc, time::Instant};

use super::look;
use crate::{
    advise::machine_state::MachineState,
    clock,
    exit::CommandError,
    model::snapshot::Snapshot,
    recording::{
        item::{Beginning, Place},
        writer::{Bounds, Existing, WriteError, Writer},
    },
};

/// A recording that is being written.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Taken while a thread writes; `None` for good once that has failed.
    writer: Option<Writer>,
}

impl Recorder {
    /// Begins a recording at `path`.
    ///
    /// # Errors
    ///
    /// If there is something that is not to be replaced, or the file cannot be made.
    pub(super) fn create(
        path: &Path,
        existing: Existing,
        bounds: Bounds,
        beginning: Beginning,
    ) -> Result<Self, CommandError> {
        let writer = Writer::create(path, existing, bounds, beginning).map_err(not_recorded)?;
        Ok(Self { writer: Some(writer) })
    }

    /// Adds a snapshot.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) async fn add(
        &mut self,
        snapshot: &Arc<Snapshot>,
        place: Place,
    ) -> Result<(), CommandError> {
        let kept = Arc::clone(snapshot);
        self.writing(move |writer| writer.add(&kept, place, Instant::now())).await
    }

    /// Adds what the machine is and how it is set, if anything of it is not what it was.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) async fn add_machine_states(
        &mut self,
        states: impl IntoIterator<Item = MachineState> + Send + 'static,
    ) -> Result<(), CommandError> {
        let add = |writer: &mut Writer| {
            let mut states = states.into_iter();
            states.try_for_each(|state| writer.add_machine_state(state, Instant::now()))
        };
        self.writing(add).await
    }

    /// When what there is must be written.
    pub(super) fn due(&self) -> Option<Instant> {
        self.writer.as_ref().and_then(Writer::due)
    }

    /// Writes what there is.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) async fn flush(&mut self) -> Result<(), CommandError> {
        self.writing(Writer::flush).await
    }

    /// Ends the recording, and says what is in it.
    ///
    /// # Errors
    ///
    /// If its end cannot be written.
    pub(super) async fn finish(mut self) -> Result<(), CommandError> {
        let Some(writer) = self.writer.take() else { return Err(ended_unexpectedly()) };
        let finished = tokio::task::spawn_blocking(move || writer.finish()).await;
        let recorded = finished.map_err(|_| ended_unexpectedly())?.map_err(not_recorded)?;
        look::say(&format!(
            "recorded {} snapshots and {} events in {} bytes",
            recorded.snapshots, recorded.events, recorded.bytes
        ));
        Ok(())
    }

    async fn writing(
        &mut self,
        write: impl FnOnce(&mut Writer) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<(), CommandError> {
        let Some(mut writer) = self.writer.take() else { return Err(ended_unexpectedly()) };
        let work = move || write(&mut writer).map(|()| writer);
        let written = tokio::task::spawn_blocking(work).await;
        let writer = written.map_err(|_| ended_unexpectedly())?.map_err(not_recorded)?;
        self.writer = Some(writer);
        Ok(())
    }
}

/// What a recording that begins now says of itself; the rest is the caller's.
pub(super) fn beginning() -> Beginning {
    let system = rustix::system::uname();
    Beginning {
        program: concat!("ctwatch ", env!("CARGO_PKG_VERSION")).to_owned(),
        host: system.nodename().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        begun_wall_ns: clock::now().wall_ns,
        ..Beginning::default()
    }
}

fn ended_unexpectedly() -> CommandError {
    CommandError::Failed(anyhow::anyhow!("the recorder ended unexpectedly; please report this"))
}

/// What it means for the command that nothing, or no more, can be recorded.
pub(super) fn not_recorded(error: WriteError) -> CommandError {
    match error {
        WriteError::Exists { .. } | WriteError::NotARecording { .. } => {
            CommandError::Usage(error.to_string())
        }
        WriteError::Create { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            CommandError::Usage(error.to_string())
        }
        error => CommandError::Failed(anyhow::anyhow!(error.to_string())),
    }
}
