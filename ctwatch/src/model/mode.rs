//! How the numbers come about, and what cannot be seen.

use serde::{Deserialize, Serialize};

use super::event::Kind;

/// What a hook stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rung {
    /// A traced function: fentry or fexit.
    Fexit,
    /// A kprobe, or a kprobe and a kretprobe.
    Kprobe,
    /// A BTF tracepoint on dropped packets.
    TracepointBtf,
    /// Dumps of the table and its events over ctnetlink.
    Netlink,
    /// Nothing: what this hook would tell is not known.
    #[default]
    None,
}

impl Rung {
    /// The rung's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::TracepointBtf => "tp_btf",
            Self::Netlink => "netlink",
            Self::None => "none",
        }
    }
}

/// The way in which each thing is seen, and what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mode {
    /// How entries asked for are seen.
    pub alloc: Rung,
    /// How refusals are seen.
    pub early_drop: Rung,
    /// How the ends of entries are seen.
    pub free: Rung,
    /// How it is seen that the garbage collector runs, which ends entries near the limit.
    pub gc: Rung,
    /// How deletions are seen: by a user, a flush, or as a device goes down.
    pub deletion: Rung,
    /// How entries that cannot be inserted are seen: not at all until the kernel has counted one.
    pub confirm: Confirm,
    /// One sentence for each thing that cannot be seen: what, why, and what to do.
    pub degraded: Vec<String>,
    /// Why the hooks do not stand on a higher rung, where nothing is missing for it: it costs more.
    pub why_not_higher: Vec<String>,
    /// When the count began, in nanoseconds since 1970: as the hooks were attached, or whatever there is in place
    /// of them.
    pub attached_at_wall_ns: Option<i128>,
    /// That conntrack's module cannot be unloaded meanwhile, and what to do about it, where that is so.
    pub pins_module: Option<String>,
}

/// Whether entries that cannot be inserted are seen, by source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirm {
    /// They cannot be.
    #[default]
    Impossible,
    /// The kernel has counted none yet, so there is nothing to see.
    NotNeeded,
    /// They are.
    Since {
        /// How.
        rung: Rung,
        /// Since when, in nanoseconds since 1970.
        wall_ns: i128,
    },
}

impl Confirm {
    /// How they are seen now.
    pub fn rung(self) -> Rung {
        match self {
            Self::Impossible | Self::NotNeeded => Rung::None,
            Self::Since { rung, .. } => rung,
        }
    }

    /// Since when, in nanoseconds since 1970.
    pub fn since_wall_ns(self) -> Option<i128> {
        match self {
            Self::Impossible | Self::NotNeeded => None,
            Self::Since { wall_ns, .. } => Some(wall_ns),
        }
    }
}

impl Mode {
    /// Whether every count is made by hooks in the kernel.
    pub fn counts_in_kernel(&self) -> bool {
        let hooks = [Rung::Fexit, Rung::Kprobe];
        hooks.contains(&self.alloc) && hooks.contains(&self.free)
    }

    /// Why events of a kind cannot be seen, as a sentence; `None` if they can.
    pub fn why_unseen(&self, kind: Kind) -> Option<&'static str> {
        let in_kernel = self.counts_in_kernel();
        match kind {
            Kind::Refused if !self.sees_refusals() => {
                Some("refusals cannot be seen: neither conntrack nor dropped packets are hooked")
            }
            Kind::Evicted if !in_kernel => {
                Some("evictions cannot be seen: that takes hooks on conntrack")
            }
            Kind::InsertFailed if !in_kernel || self.confirm == Confirm::Impossible => {
                Some("insert failures cannot be seen: that takes hooks on conntrack")
            }
            Kind::Ended if !in_kernel && self.free == Rung::None => {
                Some("ends of entries cannot be seen: that takes hooks on conntrack, or ctnetlink")
            }
            _ => None,
        }
    }

    /// Whether refusals are seen packet by packet.
    pub fn sees_refusals(&self) -> bool {
        matches!(self.early_drop, Rung::Fexit | Rung::Kprobe | Rung::TracepointBtf)
    }
}
