//! What can happen to the screen, and what it wants done.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;

use super::deed::Deed;
use crate::{
    advise::Diagnosis,
    model::{census::Census, snapshot::Snapshot},
    output::blocks::Report,
};

/// A key, whatever the terminal sent for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Character(char),
    /// Control and a letter, in lower case.
    Control(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// Tab.
    Tab,
    /// Tab with shift.
    BackTab,
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Input {
    /// A key was pressed.
    Key(Key),
    /// An interval has ended: a snapshot for each namespace.
    Interval(Vec<Arc<Snapshot>>),
    /// The terminal has this many columns and lines now.
    Resize(u16, u16),
    /// A second has passed.
    Tick,
    /// Advice on a namespace has been found, or why there is none.
    Diagnosed(u32, Result<Arc<Diagnosis>, String>),
    /// The table has been walked for one source.
    Walked(Request, Result<Walked, String>),
    /// Who is kept out of a namespace, or why that is not known.
    Blocks(u32, Result<Arc<Report>, String>),
    /// A deed has ended: what it said, and whether it succeeded.
    Done(Deed, Result<String, String>),
    /// The session has something to say.
    Said(String),
    /// What this program costs now.
    Cost(Cost),
}

/// What a walk of the table is to be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The table: number of the network namespace.
    pub netns: u32,
    /// The source.
    pub network: IpNet,
}

/// What a walk told of one source.
#[derive(Clone, Debug)]
pub struct Walked {
    /// When it was over, in nanoseconds since 1970.
    pub wall_ns: i128,
    /// How long it took, in seconds: there is a pause of 20 times that after it.
    pub took_s: f64,
    /// States, destinations and ports of that source alone.
    pub census: Arc<Census>,
}

/// What this program costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// The share of one processor in the last second, the hooks' own time not included.
    pub cpu: f64,
    /// Memory that it occupies, with the rows that it shares with the kernel; `None` if that cannot be read.
    pub memory_bytes: Option<u64>,
    /// What an entry takes in the kernel, without extensions; `None` if that cannot be read.
    pub entry_bytes: Option<u64>,
}

/// What the screen wants done. Only a deed changes anything on the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End.
    Quit,
    /// Give the terminal back and stop, as Ctrl-Z does.
    Suspend,
    /// Draw everything anew, whatever the terminal shows.
    Repaint,
    /// Let this much time be between two snapshots.
    Pace(Duration),
    /// Find advice on this namespace.
    Diagnose(u32),
    /// Walk the table for a source.
    Walk(Request),
    /// List who is kept out of this namespace.
    ListBlocks(u32),
    /// Run this, for this namespace.
    Do(Deed, u32),
}
