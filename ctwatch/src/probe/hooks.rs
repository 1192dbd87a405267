//! The hooks: which kernel function each stands on, and what is lost without it.

/// One hook on a function of the kernel.
#[derive(Debug)]
pub struct Hook {
    /// Its name in `mode`.
    pub name: &'static str,
    /// The kernel's function.
    pub symbol: &'static str,
    /// The programs of the object that are attached to it, entry before return.
    pub programs: &'static [&'static str],
    /// What cannot be seen without it.
    pub without: &'static str,
}

/// A packet asks for an entry.
pub const ALLOC: Hook = Hook {
    name: "alloc",
    symbol: "__nf_conntrack_alloc",
    programs: &["alloc"],
    without: "entries are not counted as they are made",
};

/// An entry is gone.
pub const FREE: Hook = Hook {
    name: "free",
    symbol: "nf_conntrack_free",
    programs: &["free"],
    without: "entries are not counted as they end",
};

/// The table is full; a packet may be refused.
pub const EARLY_DROP: Hook = Hook {
    name: "early_drop",
    symbol: "early_drop",
    programs: &["early_drop", "early_drop_return"],
    without: "refused packets cannot be told from accepted ones",
};

/// All of them, in the order in which they are attached: ends before beginnings, so that no entry is
/// counted as made and missed as it ends.
pub const HOOKS: &[&Hook] = &[&FREE, &EARLY_DROP, &ALLOC];
