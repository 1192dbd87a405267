//! A screen in trouble, for the tests: a gateway under flood, with one of everything.

use std::{sync::Arc, time::Duration};

use super::{
    input::{Cost, Effect, Input, Key, Walked},
    state::State,
};
use crate::{
    model::{
        mode::{Confirm, Mode, Rung},
        snapshot::{Snapshot, SourceNumbers},
        source,
    },
    output::{advice, blocks, sample},
};

/// What a command says.
const SAID: &str = "net.netfilter.nf_conntrack_max: 65536 -> 131072\n   the table holds more, and a sentence that is longer than a line of eighty columns is broken here";

/// A moment later for each `second`: sources come, and what they hold grows.
pub(crate) fn snapshot(second: u64) -> Snapshot {
    let mut snapshot = sample::snapshot();
    snapshot.wall_ns += i128::from(second) * 1_000_000_000;
    let first = snapshot.sources[0];
    let like = |address: &str, protocol, entries: u64| SourceNumbers {
        key: Some(source::key(1, address.parse().unwrap(), protocol)),
        entries: Some(entries),
        new: Some(entries * 2),
        refused: Some(entries % 3),
        new_per_s: Some(entries as f64 / 100.0),
        refused_per_s: Some((entries % 3) as f64),
        unreplied: Some(entries / 2),
        ..first
    };
    snapshot.sources.push(like("10.0.1.2", 6, 400));
    snapshot.sources.push(like("2001:db8:1:2:3:4:5:6", 6, 300));
    snapshot.sources.extend((3..40).map(|host| {
        like(&format!("10.0.{}.{host}", host % 4), [6, 17, 1][host % 3], 100 - host as u64)
    }));
    snapshot.table.entries = 50_000 + second * 1000;
    snapshot.table.utilization = Some(snapshot.table.entries as f64 / 65_536.0);
    snapshot.totals.new_per_s = Some(400.0 + second as f64 * 10.0);
    snapshot.totals.refused_per_s = Some(if second > 5 { second as f64 } else { 0.0 });
    snapshot.events = vec![sample::event()];
    snapshot.mode = Arc::new(Mode {
        gc: Rung::Kprobe,
        deletion: Rung::None,
        confirm: Confirm::NotNeeded,
        degraded: vec![
            "no kprobe on a function: it is not there; deletions are told as closed".to_owned(),
        ],
        ..(*snapshot.mode).clone()
    });
    snapshot
}

/// After ten seconds, with advice and a second namespace.
pub(crate) fn state(columns: u16, lines: u16) -> State {
    let mut state = State::new(columns, lines, Duration::from_secs(1));
    for second in 0..10 {
        let mut other = sample::snapshot();
        other.netns = 2;
        other.netns_name = Some("other".into());
        other.table.utilization = Some(0.1);
        other.table.entries = 6500;
        state.take(Input::Interval(vec![Arc::new(snapshot(second)), Arc::new(other)]));
        state.take(Input::Tick);
    }
    state.take(Input::Cost(Cost {
        cpu: 0.034,
        memory_bytes: Some(41_000_000),
        entry_bytes: Some(256),
    }));
    state.take(Input::Diagnosed(1, Ok(Arc::new(advice::sample::diagnosis()))));
    state
}

/// Presses keys: each character is one, `\n` is Enter, `\x1b` Escape, `\t` Tab. What is asked for is answered.
pub(crate) fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.chars() {
        let key = match key {
            '\n' => Key::Enter,
            '\x1b' => Key::Escape,
            '\t' => Key::Tab,
            '\x08' => Key::Backspace,
            character => Key::Character(character),
        };
        let wanted = state.take(Input::Key(key));
        for effect in &wanted {
            let answer = match effect {
                Effect::Walk(request) => {
                    let census = sample::snapshot().census.unwrap().census;
                    let wall_ns = sample::snapshot().wall_ns;
                    Input::Walked(*request, Ok(Walked { wall_ns, took_s: 0.25, census }))
                }
                Effect::ListBlocks(netns) => {
                    Input::Blocks(*netns, Ok(Arc::new(blocks::sample::report())))
                }
                Effect::Do(deed, _) => Input::Done(deed.clone(), Ok(SAID.to_owned())),
                _ => continue,
            };
            state.take(answer);
        }
        effects.extend(wanted);
    }
    effects
}
