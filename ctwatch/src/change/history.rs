//! What became of each change set: what the journal says, held against what the machine says now.

use super::{
    ledger::{ChangeSet, Ledger},
    system::System,
    undo::{Standing, standing_of_file, standing_of_value},
};

/// What became of a change set as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// Its values hold, until the machine is started anew.
    InForce,
    /// The same, and somebody has said that all is well.
    Confirmed,
    /// Its values hold, and files make them again when the machine starts.
    Persisted,
    /// Its values hold, and will be undone unless somebody confirms.
    AwaitsConfirmation {
        /// How long there is, in seconds.
        left_s: u64,
    },
    /// Nobody confirmed in time, and the watchdog has not undone it.
    Overdue,
    /// ctwatch was cut off in the middle of it.
    CutOff,
    /// It was undone: why, in words.
    RolledBack(&'static str),
    /// Some of its values or files are somebody else's now.
    Overwritten,
    /// Its values are as before, and nobody has undone it: somebody has set them back, or the machine was started anew.
    Lapsed,
}

impl Became {
    /// Its name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Confirmed => "confirmed",
            Self::Persisted => "persisted",
            Self::AwaitsConfirmation { .. } => "awaits_confirmation",
            Self::Overdue => "overdue",
            Self::CutOff => "cut_off",
            Self::RolledBack(_) => "rolled_back",
            Self::Overwritten => "overwritten",
            Self::Lapsed => "lapsed",
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::InForce => "in force until the machine is started anew".to_owned(),
            Self::Confirmed => "confirmed, in force until the machine is started anew".to_owned(),
            Self::Persisted => "persistent: files set it again when the machine starts".to_owned(),
            Self::AwaitsConfirmation { left_s } => {
                format!("in force, and undone in {left_s} s unless it is confirmed")
            }
            Self::Overdue => {
                "in force, although nobody confirmed in time: its watchdog is gone".to_owned()
            }
            Self::CutOff => "cut off in the middle, and not undone yet".to_owned(),
            Self::RolledBack(why) => format!("rolled back, {why}"),
            Self::Overwritten => "partly overwritten by somebody else since".to_owned(),
            Self::Lapsed => "not in force any more, and not by ctwatch".to_owned(),
        }
    }
}

/// One value or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The kernel's name, or the path.
    pub name: String,
    /// Before; `None` for a file.
    pub from: Option<u64>,
    /// After; `None` for a file.
    pub to: Option<u64>,
    /// What it is now.
    pub standing: Standing,
}

/// One change set.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What the journal says.
    pub set: ChangeSet,
    /// What became of it.
    pub became: Became,
    /// Its values.
    pub values: Vec<Item>,
    /// Its files.
    pub files: Vec<Item>,
}

/// All change sets, the oldest first. `machine` gives the machine with the values of a set's namespace.
pub fn history<S: System>(
    ledger: &Ledger,
    boot: &str,
    boottime_ns: u64,
    mut machine: impl FnMut(&ChangeSet) -> S,
) -> Vec<Entry> {
    let entry = |set: &ChangeSet| entry(set, boot, boottime_ns, &mut machine(set));
    ledger.sets().iter().map(entry).collect()
}

/// One change set, by the machine with the values of its namespace.
pub fn entry(set: &ChangeSet, boot: &str, boottime_ns: u64, machine: &mut impl System) -> Entry {
    let is_this_start = set.began.place.boot == boot;
    let values: Vec<Item> = set
        .values
        .iter()
        .map(|value| Item {
            name: value.key.clone(),
            from: Some(value.old),
            to: Some(value.new),
            standing: standing_of_value(value, is_this_start, machine),
        })
        .collect();
    let files: Vec<Item> = set
        .files
        .iter()
        .map(|file| Item {
            name: file.path.display().to_string(),
            from: None,
            to: None,
            standing: standing_of_file(file, machine),
        })
        .collect();
    let items: Vec<&Item> = values.iter().chain(&files).collect();
    let became = became(set, &items, boot, boottime_ns);
    Entry { set: set.clone(), became, values, files }
}

fn became(set: &ChangeSet, items: &[&Item], boot: &str, boottime_ns: u64) -> Became {
    if let Some(rolled_back) = &set.rolled_back {
        return Became::RolledBack(rolled_back.by.words());
    }
    let any = |is: fn(&Standing) -> bool| items.iter().any(|item| is(&item.standing));
    if any(|standing| matches!(standing, Standing::Foreign(_))) {
        return Became::Overwritten;
    }
    if !any(|standing| matches!(standing, Standing::InForce | Standing::Unknown(_))) {
        return Became::Lapsed;
    }
    if set.is_cut_off() {
        return Became::CutOff;
    }
    if set.awaits_confirmation() {
        if set.is_overdue(boot, boottime_ns) {
            return Became::Overdue;
        }
        let deadline_ns = set.began.deadline.map_or(0, |deadline| deadline.boottime_ns);
        let left_s = deadline_ns.saturating_sub(boottime_ns) / 1_000_000_000;
        return Became::AwaitsConfirmation { left_s };
    }
    match (set.persisted_at_ms, set.confirmed_at_ms) {
        (Some(_), _) => Became::Persisted,
        (None, Some(_)) => Became::Confirmed,
        (None, None) => Became::InForce,
    }
}
