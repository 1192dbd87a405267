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
    /// How C declares it, on one kernel or another: what the programs expect, as their file says on top. A test
    /// compares it with what each kernel says.
    pub prototypes: &'static [&'static str],
    /// What cannot be seen without it.
    pub without: &'static str,
}

impl Hook {
    /// Whether a function with so many parameters can be what the programs expect; the result lies behind them for
    /// programs that trace its return.
    pub fn fits(&self, parameters: usize) -> bool {
        self.prototypes.iter().any(|prototype| prototype.split(", ").count() == parameters)
    }
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
    prototypes: &[
        "struct nf_conn *__nf_conntrack_alloc(struct net *net, const struct nf_conntrack_zone *zone, const struct nf_conntrack_tuple *orig, const struct nf_conntrack_tuple *repl, gfp_t gfp, u32 hash)",
    ],
    without: "entries are not counted as they are made",
};

/// An entry is gone.
pub const FREE: Hook = Hook {
    name: "free",
    symbol: "nf_conntrack_free",
    programs: &["free"],
    traced: &[Traced { program: "free_entry", moment: Moment::Entry }],
    prototypes: &["void nf_conntrack_free(struct nf_conn *ct)"],
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
    prototypes: &["int early_drop(struct net *net, unsigned int hash)"],
    without: "refused packets cannot be told from accepted ones",
};

/// The garbage collector runs.
pub const GC: Hook = Hook {
    name: "gc",
    symbol: "gc_worker",
    programs: &["gc_worker", "gc_worker_return"],
    traced: &[],
    prototypes: &["void gc_worker(struct work_struct *work)"],
    without: "entries that the garbage collector throws out near the limit cannot be told from others",
};

/// Many entries are deleted.
pub const DELETION: Hook = Hook {
    name: "deletion",
    symbol: "nf_ct_iterate_cleanup",
    programs: &["deletion", "deletion_return"],
    traced: &[],
    prototypes: &[
        "void nf_ct_iterate_cleanup(int (*iter)(struct nf_conn *, void *), const struct nf_ct_iter_data *iter_data)",
    ],
    without: "deleted entries cannot be told from others",
};

/// A user deletes entries, in a module that may be loaded at any time.
pub const DELETION_BY_USER: Hook = Hook {
    symbol: "ctnetlink_del_conntrack",
    prototypes: &[
        "int ctnetlink_del_conntrack(struct sk_buff *skb, const struct nfnl_info *info, const struct nlattr *const *cda)",
    ],
    ..DELETION
};

/// An entry is put into the table.
pub const CONFIRM: Hook = Hook {
    name: "confirm",
    symbol: "__nf_conntrack_confirm",
    programs: &["confirm", "confirm_return"],
    traced: &[],
    prototypes: &["int __nf_conntrack_confirm(struct sk_buff *skb)"],
    without: "entries that could not be inserted are not counted by source",
};

/// It meets another one with the same tuple there.
pub const CLASH: Hook = Hook {
    name: "confirm",
    symbol: "nf_ct_resolve_clash",
    programs: &["resolve_clash"],
    traced: &[],
    prototypes: &[
        "int nf_ct_resolve_clash(struct sk_buff *skb, struct nf_conntrack_tuple_hash *h, u32 reply_hash)",
    ],
    ..CONFIRM
};

/// Those that every count stands on, in the order in which they are attached: ends before beginnings, so that no entry is
/// counted as made and missed as it ends.
pub const HOOKS: &[&Hook] = &[&FREE, &EARLY_DROP, &ALLOC];

/// Those on what happens rarely; each is attached by itself.
pub const RARE_HOOKS: &[&Hook] = &[&GC, &DELETION, &DELETION_BY_USER, &CONFIRM, &CLASH];
