//! Hands the session's intervals to the screen. With no room for one it waits, and the collector skips what finds no room
//! then: it is never held up.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Interval;
use crate::{command::look::Look, exit::CommandError, screen::input::Input};

/// Sentences that wait to be shown.
const SENTENCES_WAITING: usize = 8;

/// Runs until the look ends, or the screen is gone.
pub(super) async fn follow(
    mut look: Look,
    mut paces: mpsc::Receiver<Duration>,
    screen: mpsc::Sender<Input>,
) -> Result<(), CommandError> {
    let (listener, mut said) = mpsc::channel(SENTENCES_WAITING);
    look.tell(listener);
    let mut interval = Interval::new();
    loop {
        let input = tokio::select! {
            biased;
            pace = paces.recv() => match pace {
                Some(pace) => {
                    look.set_interval(pace);
                    continue;
                }
                None => return Ok(()),
            },
            Some(sentence) = said.recv() => Input::Said(sentence),
            next = look.next() => match next? {
                Some(snapshot) => {
                    interval.push(snapshot);
                    if !look.is_interval_complete() {
                        continue;
                    }
                    Input::Interval(std::mem::take(&mut interval))
                }
                None => return Ok(()),
            },
        };
        if screen.send(input).await.is_err() {
            return Ok(());
        }
    }
}
