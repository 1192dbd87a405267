//! Runs what was confirmed on the screen: a command of this program, with where it looks added.

use std::ffi::OsString;

use clap::ValueEnum as _;
use tokio::{sync::mpsc, task::JoinHandle};

use super::findings;
use crate::{
    change::own_command,
    cli::TopArguments,
    command::look::say,
    host::namespace::{NamespaceChoice, NamespaceTarget},
    screen::{deed::Deed, input::Input},
};

/// What deeds need, and those that run.
pub(super) struct Deeds {
    choice: NamespaceChoice,
    attach: OsString,
    screen: mpsc::Sender<Input>,
    running: Vec<JoinHandle<()>>,
}

impl Deeds {
    /// As the screen was asked to look; their ends go to the screen.
    pub(super) fn new(arguments: &TopArguments, screen: mpsc::Sender<Input>) -> Self {
        let attach = arguments.look.attach.to_possible_value();
        let attach = attach.map_or_else(|| "auto".into(), |value| value.get_name().into());
        Self { choice: arguments.look.netns.clone(), attach, screen, running: Vec::new() }
    }

    /// Runs one.
    pub(super) fn run(&mut self, deed: Deed, netns: u32) {
        let arguments =
            findings::target(&self.choice, netns).map(|target| self.arguments(&deed, &target));
        let screen = self.screen.clone();
        self.running.retain(|running| !running.is_finished());
        self.running.push(tokio::task::spawn_blocking(move || {
            let said = arguments.and_then(|arguments| own_command::run(&arguments));
            // The screen may be gone by now.
            let _ = screen.blocking_send(Input::Done(deed, said));
        }));
    }

    /// Waits for those that run: what is half done must not be left alone.
    pub(super) async fn end(self) {
        let Self { screen, running, .. } = self;
        drop(screen);
        for running in running.into_iter().filter(|running| !running.is_finished()) {
            say("waiting for the command that was begun on the screen");
            let _ = running.await;
        }
    }

    fn arguments(&self, deed: &Deed, target: &NamespaceTarget) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            deed.command().split_whitespace().skip(1).map(OsString::from).collect();
        let namespace = ["--netns".into(), target.to_string().into()];
        let attach = ["--attach".into(), self.attach.clone()];
        match deed {
            Deed::Block(_) => {
                words.extend(["--why".into(), "on the screen".into()]);
                words.extend(namespace.into_iter().chain(attach));
            }
            Deed::Plan(_) | Deed::Apply(_) => words.extend(namespace.into_iter().chain(attach)),
            Deed::Unblock(_) => words.extend(namespace),
            Deed::Confirm | Deed::RollBack => {}
        }
        words
    }
}
