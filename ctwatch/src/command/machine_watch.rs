//! Reads again and again what the machine is and how it is set, beside a recording.

use std::time::Duration;

use tokio::{task::JoinHandle, time::Instant};

use super::machine_state;
use crate::{
    advise::{facts::Modules, machine_state::MachineState},
    host::{
        module_users,
        namespace::{NamespaceChoice, NetworkNamespace},
        namespace_list::tracking_namespaces,
    },
};

/// Between two readings; rules are listed and processes looked at each time.
const PAUSE: Duration = Duration::from_secs(10);
/// And so many times what the last one took, as between two walks of the table.
const PAUSE_BY_READING: u32 = 20;

/// Reads on a thread of its own, as rules may be many.
#[derive(Debug)]
pub(super) struct MachineWatch {
    choice: NamespaceChoice,
    modules_before: Modules,
    due: Instant,
    reading: Option<JoinHandle<Vec<MachineState>>>,
}

impl MachineWatch {
    /// For the namespaces of `choice`, from now on. To be made before anything is attached.
    pub(super) fn new(choice: NamespaceChoice) -> Self {
        Self { choice, modules_before: module_users::read(), due: Instant::now(), reading: None }
    }

    /// What was found when it was time to look again, of each namespace. Safe to be dropped and called again.
    pub(super) async fn next(&mut self) -> Vec<MachineState> {
        if self.reading.is_none() {
            tokio::time::sleep_until(self.due).await;
            self.due = Instant::now();
            self.reading = Some(self.read());
        }
        let Some(reading) = &mut self.reading else { return Vec::new() };
        let states = reading.await.unwrap_or_default();
        self.reading = None;
        self.due = Instant::now() + PAUSE.max(self.due.elapsed() * PAUSE_BY_READING);
        states
    }

    /// What there is in the end.
    pub(super) async fn last(self) -> Vec<MachineState> {
        self.read().await.unwrap_or_default()
    }

    fn read(&self) -> JoinHandle<Vec<MachineState>> {
        let (choice, modules) = (self.choice.clone(), self.modules_before.clone());
        tokio::task::spawn_blocking(move || {
            let targets = match choice {
                NamespaceChoice::One(target) => vec![target],
                NamespaceChoice::All => {
                    tracking_namespaces().into_iter().map(|found| found.target).collect()
                }
            };
            // One that is gone, or where nothing can be read any more, has no state.
            let read = targets.iter().filter_map(|target| {
                machine_state::read_in(&NetworkNamespace::open(target).ok()?, &modules).ok()
            });
            read.collect()
        })
    }
}
