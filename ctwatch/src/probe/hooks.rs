//! The hooks: which kernel function each stands on, and what is lost without it.

/// One hook on a function of the kernel.
#[derive(Debug)]
pub struct Hook {
    /// Its name in `mode`.
    pub name: &'static str,
    /// The kernel's function.
    pub symbol: &'static str,
    /// The programs of the object that are attached to it as kprobes, entry before return.
    pub programs: &'static [&'static str],
    /// Those that are attached to it by tracing, in this order.
    pub traced: &'static [Traced],
    /// How many parameters it has; the result lies behind them for programs that trace its return.
    pub parameters: usize,
    /// What cannot be seen without it.
    pub without: &'static str,
}

/// A program that traces a function.
#[derive(Debug)]
pub struct Traced {
    /// The program of the object.
    pub program: &'static str,
    /// When it runs.
    pub moment: Moment,
}

/// When a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// As the function is entered.
    Entry,
    /// As it returns.
    Return,
}

/// A packet asks for an entry.
pub const ALLOC: Hook = Hook {
    name: "alloc",
    symbol: "__nf_conntrack_alloc",
    programs: &["alloc"],
    traced: &[Traced { program: "alloc_entry", moment: Moment::Entry }],
    parameters: 6,
    without: "entries are not counted as they are made",
};

/// An entry is gone.
pub const FREE: Hook = Hook {
    name: "free",
    symbol: "nf_conntrack_free",
    programs: &["free"],
    traced: &[Traced { program: "free_entry", moment: Moment::Entry }],
    parameters: 1,
    without: "entries are not counted as they end",
};

/// The table is full; a packet may be refused.
pub const EARLY_DROP: Hook = Hook {
    name: "early_drop",
    symbol: "early_drop",
    programs: &["early_drop", "early_drop_return"],
    traced: &[
        Traced { program: "early_drop_entry", moment: Moment::Entry },
        Traced { program: "early_drop_exit", moment: Moment::Return },
    ],
    parameters: 2,
    without: "refused packets cannot be told from accepted ones",
};

/// The garbage collector runs.
pub const GC: Hook = Hook {
    name: "gc",
    symbol: "gc_worker",
    programs: &["gc_worker", "gc_worker_return"],
    traced: &[],
    parameters: 1,
    without: "entries that the garbage collector throws out near the limit cannot be told from others",
};

/// Many entries are deleted.
pub const DELETION: Hook = Hook {
    name: "deletion",
    symbol: "nf_ct_iterate_cleanup",
    programs: &["deletion", "deletion_return"],
    traced: &[],
    parameters: 2,
    without: "deleted entries cannot be told from others",
};

/// A user deletes entries, in a module that may be loaded at any time.
pub const DELETION_BY_USER: Hook =
    Hook { symbol: "ctnetlink_del_conntrack", parameters: 3, ..DELETION };

/// An entry is put into the table.
pub const CONFIRM: Hook = Hook {
    name: "confirm",
    symbol: "__nf_conntrack_confirm",
    programs: &["confirm", "confirm_return"],
    traced: &[],
    parameters: 1,
    without: "entries that could not be inserted are not counted by source",
};

/// It meets another one with the same tuple there.
pub const CLASH: Hook = Hook {
    name: "confirm",
    symbol: "nf_ct_resolve_clash",
    programs: &["resolve_clash"],
    traced: &[],
    parameters: 3,
    ..CONFIRM
};

/// Those that every count stands on, in the order in which they are attached: ends before beginnings, so that no entry is
/// counted as made and missed as it ends.
pub const HOOKS: &[&Hook] = &[&FREE, &EARLY_DROP, &ALLOC];
