//! What is done to the system: first shown, then run by a second key, and its end read.

use ipnet::IpNet;

use super::{Overlay, State};
use crate::screen::{
    deed::{Deed, Stage},
    input::{Effect, Key},
    keys::Action,
    tab::Tab,
};

impl State {
    /// Who is kept out of the namespace that is shown, or capped in it, in the order of the list.
    pub fn kept_out(&self) -> Vec<IpNet> {
        let report = self.blocked.known();
        report.map_or_else(Vec::new, |report| {
            let blocked = report.rows.iter().map(|row| row.block.network);
            blocked.chain(report.caps.iter().map(|cap| cap.network)).collect()
        })
    }

    /// A key that leads to a deed. Nothing runs yet, except what changes nothing.
    pub(super) fn want(&mut self, action: Action, effects: &mut Vec<Effect>) {
        let deed = match action {
            Action::Block => self.chosen_source().map(Deed::Block),
            Action::Unblock if self.tab == Tab::Blocks => {
                self.kept_out().get(self.blocks.at).copied().map(Deed::Unblock)
            }
            Action::Unblock => self.chosen_source().map(Deed::Unblock),
            Action::Confirm => Some(Deed::Confirm),
            Action::RollBack => Some(Deed::RollBack),
            Action::Apply if self.advised.known().is_some() => {
                self.open(Tab::Advice);
                self.lay(Overlay::Number);
                return;
            }
            _ => None,
        };
        match deed {
            Some(deed) => self.ask_for(deed, effects),
            None => self.message = Some(self.why_not(action).to_owned()),
        }
    }

    /// The second key.
    pub(super) fn yes(&mut self, effects: &mut Vec<Effect>) {
        let Overlay::Deed(deed, stage) = &self.overlay else { return };
        let deed = match stage {
            Stage::Asked => deed.clone(),
            // What was shown is the plan of the next one.
            Stage::Ended(Ok(_)) if deed.is_harmless() => match deed.next() {
                Some(next) => next,
                None => return,
            },
            Stage::Running | Stage::Ended(_) => return,
        };
        self.run(deed, effects);
    }

    /// The number of an advice, or any other key instead of it.
    pub(super) fn take_number(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.close();
        let Key::Character(character) = key else { return };
        let Some(diagnosis) = self.advised.known() else { return };
        let number = character.to_digit(10).and_then(|digit| digit.checked_sub(1));
        let advice = number.and_then(|number| diagnosis.advice.get(number as usize));
        match advice {
            None => self.message = Some("there is no advice of that number".to_owned()),
            Some(advice) if advice.changes.is_empty() => {
                self.message = Some(
                    "no setting changes by this one: its commands are for a shell, or b blocks a source"
                        .to_owned(),
                );
            }
            Some(advice) => {
                let deed = Deed::Plan(advice.id.clone());
                self.ask_for(deed, effects);
            }
        }
    }

    /// A deed has ended.
    pub(super) fn done(&mut self, deed: Deed, said: Result<String, String>) {
        self.blocked.is_outdated();
        match &self.overlay {
            Overlay::Deed(shown, Stage::Running) if *shown == deed => {
                self.lay(Overlay::Deed(deed, Stage::Ended(said)));
            }
            // It went on while something else was looked at.
            _ => {
                let what = if said.is_ok() { "done" } else { "failed" };
                self.message = Some(format!("{what}: {}", deed.command()));
            }
        }
    }

    fn ask_for(&mut self, deed: Deed, effects: &mut Vec<Effect>) {
        if deed.is_harmless() {
            self.run(deed, effects);
        } else {
            self.lay(Overlay::Deed(deed, Stage::Asked));
        }
    }

    fn run(&mut self, deed: Deed, effects: &mut Vec<Effect>) {
        let Some(netns) = self.netns else { return };
        effects.push(Effect::Do(deed.clone(), netns));
        self.lay(Overlay::Deed(deed, Stage::Running));
    }

    /// The source that is looked at, or chosen in the list.
    fn chosen_source(&self) -> Option<IpNet> {
        if self.tab != Tab::Sources {
            return None;
        }
        if let Some(source) = &self.source {
            return Some(source.network);
        }
        self.rows.at(self.snapshot()?, self.sources.at)?.network()
    }

    fn why_not(&self, action: Action) -> &'static str {
        match action {
            Action::Apply => "there is no advice yet: open it with 4",
            Action::Unblock if self.tab == Tab::Blocks => "nobody is blocked",
            _ => "choose a source first: open the sources with 1",
        }
    }
}
