//! Trying to attach the hooks, and saying what was reached and why not more.

use std::path::PathBuf;

use aya::{Ebpf, programs::KProbe};
use ctwatch_common::{counter::Witness, row::UNATTRIBUTED};

use super::{
    btf::Btf,
    control::{Control, Switch},
    drops,
    error::{ProbeError, sentence},
    hooks::{HOOKS, Hook},
    layout::{ConntrackLayout, DropLayout},
    misses::MissCounters,
    object::{self, Loading, Sizes},
    rare::RareHooks,
    ring::EventRing,
    rows::RowMemory,
    symbols::{Arguments, Resolved, Symbols},
    tracing::{self, ConntrackTypes, Links, SharedMaps, Targets},
};
use crate::model::{counters::Counters, mode::Rung, rows::RowReading};

/// How far up the ladder to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// As far as it goes.
    Highest,
    /// Traced functions, or no hook on conntrack.
    Fexit,
    /// Kprobes, or no hook on conntrack.
    Kprobe,
    /// No hook on conntrack, even where one could be attached.
    Netlink,
}

/// What to attach, and with how much memory.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// How far to go.
    pub ceiling: Ceiling,
    /// Sizes of the maps.
    pub sizes: Sizes,
    /// Bytes that ctnetlink's events may wait in, where there are no hooks.
    pub netlink_buffer_bytes: usize,
    /// An object to use instead of the built-in one.
    pub object: Option<PathBuf>,
    /// Why there are to be no hooks, where that was not asked for.
    pub why_no_hooks: Option<String>,
}

/// The hooks on conntrack, attached. Dropping it detaches them: nothing is pinned.
#[derive(Debug)]
pub struct Hooked {
    /// The counters.
    pub rows: RowMemory,
    /// The events.
    pub ring: EventRing,
    /// The switches; entries are being traced, as they have been since before the first hook was attached.
    pub control: Control,
    /// What they stand on.
    pub rung: Rung,
    /// Those on what happens rarely.
    pub rare: RareHooks,
    /// What is missing, one sentence each.
    pub missing: Vec<String>,
    /// Why not on a higher rung, one sentence each.
    pub why_not_higher: Vec<String>,
    /// What is to be known of functions whose arguments may not be as declared, where there are such.
    renamed: Option<String>,
    misses: MissCounters,
    /// Refusals of packets that had asked for an entry before that was counted.
    refused_unasked: u64,
    /// What keeps traced functions traced; empty on other rungs, where the object does.
    _links: Links,
}

impl Hooked {
    /// Why the counters must not be believed, by a reading of them; `None` if they may be.
    pub fn misread(&self, reading: &RowReading) -> Option<String> {
        let wrong = reading.witness(Witness::Unreadable);
        let renamed = self.renamed.as_ref().filter(|_| wrong > 0)?;
        Some(format!("{renamed}; it was wrong {wrong} times"))
    }

    /// Reads the counters, and what the hooks missed.
    pub fn read(&self) -> RowReading {
        let mut reading = self.rows.read();
        reading.unattributed.attempts += self.refused_unasked;
        if let Some(attempts) = reading.witness.get_mut(Witness::Attempts as usize) {
            *attempts += self.refused_unasked;
        }
        reading.missed = self.misses.read().map(Box::new);
        reading
    }
}

/// The program on dropped packets, attached.
#[derive(Debug)]
pub struct DropsWatched {
    /// The counters.
    pub rows: RowMemory,
    /// The events.
    pub ring: EventRing,
    /// The switches; drops are not looked at yet.
    pub control: Control,
}

/// What was reached.
#[derive(Debug)]
pub enum Attached {
    /// Every count is made in the kernel.
    Conntrack(Box<Hooked>),
    /// Only drops are seen; why not more.
    Drops(Box<DropsWatched>, Vec<String>),
    /// Nothing is seen in the kernel; why not.
    Nothing(Vec<String>),
}

/// Goes as far up the ladder as `options` and the kernel allow.
pub fn attach(options: &AttachOptions) -> Attached {
    let mut reasons = Vec::new();
    if options.ceiling == Ceiling::Netlink {
        let why = options.why_no_hooks.as_deref().unwrap_or("--attach netlink was given");
        reasons.push(format!("hooks on conntrack were not tried, because {why}"));
    }
    for rung in rungs_up_to(options.ceiling) {
        match hook_conntrack(options, *rung) {
            Ok(mut hooked) => {
                hooked.why_not_higher = reasons;
                hooked.why_not_higher.extend(hooked.renamed.clone());
                return Attached::Conntrack(Box::new(hooked));
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if options.ceiling == Ceiling::Kprobe {
        return Attached::Nothing(reasons);
    }
    match watch_drops(options) {
        Ok(watched) => Attached::Drops(Box::new(watched), reasons),
        Err(reason) => {
            reasons.push(format!("refused packets are not seen, because {reason}"));
            Attached::Nothing(reasons)
        }
    }
}

fn rungs_up_to(ceiling: Ceiling) -> &'static [Rung] {
    match ceiling {
        Ceiling::Highest => &[Rung::Fexit, Rung::Kprobe],
        Ceiling::Fexit => &[Rung::Fexit],
        Ceiling::Kprobe => &[Rung::Kprobe],
        Ceiling::Netlink => &[],
    }
}

/// Attaches every hook on one rung, or none: each rung counts in its own way, and begins with empty maps.
fn hook_conntrack(options: &AttachOptions, rung: Rung) -> Result<Hooked, String> {
    let no_hook = |error: ProbeError| {
        format!("no {} on conntrack: {}", rung.name(), explained(&sentence(&error)))
    };
    let types = ConntrackTypes::read().map_err(|error| no_hook(error.into()))?;
    let layout = ConntrackLayout::of(types.all()).map_err(|error| no_hook(error.into()))?;
    if rung == Rung::Fexit {
        let targets = types.targets().map_err(no_hook)?;
        return trace_functions(options, layout, &targets).map_err(no_hook);
    }
    let declared = |hook: &&'static Hook| (*hook, Resolved::declared(hook.symbol));
    let declared: Vec<_> = HOOKS.iter().map(declared).collect();
    probe_functions(options, layout, &declared).or_else(|why_not| match renamed_functions() {
        Some(renamed) => probe_functions(options, layout, &renamed),
        None => Err(why_not),
    })
}

/// What the functions are called where the compiler made others of some; `None` where it did not, or one is not found.
fn renamed_functions() -> Option<Vec<(&'static Hook, Resolved)>> {
    let symbols = Symbols::read().ok()?;
    let resolved = HOOKS.iter().map(|hook| Some((*hook, symbols.resolve(hook.symbol)?)));
    let resolved: Vec<_> = resolved.collect::<Option<_>>()?;
    resolved.iter().any(|(hook, resolved)| hook.symbol != resolved.symbol).then_some(resolved)
}

fn probe_functions(
    options: &AttachOptions,
    layout: ConntrackLayout,
    functions: &[(&'static Hook, Resolved)],
) -> Result<Hooked, String> {
    let perhaps_others = functions
        .iter()
        .filter(|(_, resolved)| resolved.arguments == Arguments::PerhapsOthers)
        .map(|(_, resolved)| resolved.symbol.as_str());
    let perhaps_others: Vec<&str> = perhaps_others.collect();
    let (arguments, renamed) = match perhaps_others.as_slice() {
        [] => (Arguments::AsDeclared, None),
        symbols => (Arguments::PerhapsOthers, Some(of_renamed(symbols))),
    };
    let mut loaded = load(options, Some(layout), None, arguments)
        .map_err(|error| format!("no kprobe on conntrack: {}", explained(&sentence(&error))))?;
    loaded.control.trace(Switch::On);
    let mut misses = MissCounters::default();
    // Before the ends are counted, so that each of them has its reason.
    let rare = RareHooks::attach(loaded.rows.object_mut());
    for (hook, Resolved { symbol, .. }) in functions {
        for program in hook.programs {
            attach_kprobe(loaded.rows.object_mut(), hook, symbol, program, &mut misses)
                .map_err(|error| why_not(hook, &error))?;
        }
    }
    Ok(Hooked { renamed, ..loaded.hooked(Rung::Kprobe, misses, Links::default(), rare) })
}

fn of_renamed(symbols: &[&str]) -> String {
    format!(
        "the compiler made {} of conntrack's functions: what is read of their arguments is checked, and the hooks are \
         given up if it is wrong",
        symbols.join(" and ")
    )
}

fn trace_functions(
    options: &AttachOptions,
    layout: ConntrackLayout,
    targets: &Targets,
) -> Result<Hooked, ProbeError> {
    let mut loaded = load(options, Some(layout), None, Arguments::AsDeclared)?;
    loaded.control.trace(Switch::On);
    let rare = RareHooks::attach(loaded.rows.object_mut());
    let mut links = tracing::attach(targets, &loaded.bytes, &loaded.maps)?;
    let misses = std::mem::take(&mut links.misses);
    Ok(loaded.hooked(Rung::Fexit, misses, links, rare))
}

fn watch_drops(options: &AttachOptions) -> Result<DropsWatched, String> {
    let btf = Btf::of_kernel().map_err(|error| error.to_string())?;
    let symbols =
        Symbols::read().map_err(|error| format!("/proc/kallsyms cannot be read: {error}"))?;
    let layout = DropLayout::of(&btf, &symbols)?;
    let net_inum = btf.offset_of("net", &["ns", "inum"]).map_err(|error| error.to_string())?;
    let skb_nfct = btf.offset_of("sk_buff", &["_nfct"]).map_err(|error| error.to_string())?;
    let conntrack = ConntrackLayout { net_inum, skb_nfct, ..ConntrackLayout::default() };
    // It sees refusals alone.
    let sizes = Sizes { events_wanted: 0, ..options.sizes };
    let options = &AttachOptions { sizes, ..options.clone() };
    let explain = |error: ProbeError| explained(&sentence(&error));
    let mut loaded =
        load(options, Some(conntrack), Some(layout), Arguments::AsDeclared).map_err(explain)?;
    drops::attach(loaded.rows.object_mut()).map_err(explain)?;
    let Loaded { rows, ring, control, .. } = loaded;
    Ok(DropsWatched { rows, ring, control })
}

/// An object with its maps, and no program attached.
struct Loaded {
    rows: RowMemory,
    ring: EventRing,
    control: Control,
    bytes: Vec<u8>,
    maps: SharedMaps,
}

impl Loaded {
    fn hooked(
        self,
        rung: Rung,
        misses: MissCounters,
        links: Links,
        rare: (RareHooks, Vec<String>),
    ) -> Hooked {
        let Self { rows, ring, control, .. } = self;
        let (rare, missing) = rare;
        // Attempts are counted last, and have only just begun to be.
        let refused_unasked = Counters::from_row(&rows.row(UNATTRIBUTED).counters).refused;
        Hooked {
            rows,
            ring,
            control,
            rung,
            rare,
            missing,
            why_not_higher: Vec::new(),
            renamed: None,
            misses,
            refused_unasked,
            _links: links,
        }
    }
}

fn load(
    options: &AttachOptions,
    conntrack: Option<ConntrackLayout>,
    drops: Option<DropLayout>,
    arguments: Arguments,
) -> Result<Loaded, ProbeError> {
    let cpus = object::possible_cpus();
    let bytes = object::bytes(options.object.as_ref())?;
    let loading =
        Loading { bytes: &bytes, sizes: options.sizes, conntrack, drops, arguments, cpus };
    let mut object = object::load(&loading)?;
    let maps = SharedMaps::of(&object)?;
    let ring = EventRing::take(&mut object)?;
    let control = Control::of(&object)?;
    Ok(Loaded { rows: RowMemory::new(object, options.sizes, cpus)?, ring, control, bytes, maps })
}

fn attach_kprobe(
    object: &mut Ebpf,
    hook: &Hook,
    symbol: &str,
    name: &'static str,
    misses: &mut MissCounters,
) -> Result<(), ProbeError> {
    let program: &mut KProbe =
        object.program_mut(name).ok_or(ProbeError::Lacks(name))?.try_into()?;
    program.load()?;
    program.attach(symbol, 0)?;
    misses.add_kprobe(hook, name, program)
}

/// A sentence: what is missing, why, and what to do.
pub(super) fn why_not(hook: &Hook, error: &ProbeError) -> String {
    let said = sentence(error);
    let missing = Symbols::read().is_ok_and(|symbols| !symbols.has(hook.symbol));
    let why = if missing {
        format!("this kernel has no function {} (renamed by its compiler?)", hook.symbol)
    } else {
        explained(&said)
    };
    format!("no kprobe on {}: {why}; without it {}", hook.symbol, hook.without)
}

/// What to do about what the kernel said.
fn explained(said: &str) -> String {
    if said.contains("event_source/devices/kprobe") {
        "this kernel has no kprobes (CONFIG_KPROBES); a distribution's kernel has".to_owned()
    } else if said.contains("Operation not permitted") || said.contains("Permission denied") {
        format!(
            "the kernel does not allow it: run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN ({said})"
        )
    } else {
        said.to_owned()
    }
}
