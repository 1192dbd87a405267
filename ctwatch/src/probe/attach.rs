//! Trying to attach the hooks, and saying what was reached and why not more.

use std::path::PathBuf;

use aya::{Ebpf, programs::KProbe};

use super::{
    btf::Btf,
    control::{Control, Switch},
    drops,
    error::{ProbeError, sentence},
    hooks::{HOOKS, Hook},
    layout::{ConntrackLayout, DropLayout},
    object::{self, Loading, Sizes},
    ring::EventRing,
    rows::RowMemory,
    symbols::Symbols,
};

/// How far up the ladder to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// As far as it goes.
    Highest,
    /// Kprobes, or an error.
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
    /// An object to use instead of the built-in one.
    pub object: Option<PathBuf>,
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
        reasons.push(
            "hooks on conntrack were not tried, because --attach netlink was given".to_owned(),
        );
    } else {
        match hook_conntrack(options) {
            Ok(hooked) => return Attached::Conntrack(Box::new(hooked)),
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

fn hook_conntrack(options: &AttachOptions) -> Result<Hooked, String> {
    let no_hook = |reason: String| format!("no hook on conntrack: {reason}");
    let btf = Btf::of_kernel().map_err(|error| no_hook(error.to_string()))?;
    let layout = ConntrackLayout::of(&btf).map_err(|error| no_hook(error.to_string()))?;
    let (mut rows, ring, control) =
        load(options, Some(layout), None).map_err(|error| no_hook(explained(&sentence(&error))))?;
    control.trace(Switch::On);
    for hook in HOOKS {
        for program in hook.programs {
            attach_kprobe(rows.object_mut(), hook, program)
                .map_err(|error| why_not(hook, &error))?;
        }
    }
    Ok(Hooked { rows, ring, control })
}

fn watch_drops(options: &AttachOptions) -> Result<DropsWatched, String> {
    let btf = Btf::of_kernel().map_err(|error| error.to_string())?;
    let symbols =
        Symbols::read().map_err(|error| format!("/proc/kallsyms cannot be read: {error}"))?;
    let layout = DropLayout::of(&btf, &symbols)?;
    let net_inum = btf.offset_of("net", &["ns", "inum"]).map_err(|error| error.to_string())?;
    let conntrack = ConntrackLayout { net_inum, ..ConntrackLayout::default() };
    let explain = |error: ProbeError| explained(&sentence(&error));
    let (mut rows, ring, control) =
        load(options, Some(conntrack), Some(layout)).map_err(explain)?;
    drops::attach(rows.object_mut()).map_err(explain)?;
    Ok(DropsWatched { rows, ring, control })
}

fn load(
    options: &AttachOptions,
    conntrack: Option<ConntrackLayout>,
    drops: Option<DropLayout>,
) -> Result<(RowMemory, EventRing, Control), ProbeError> {
    let cpus = object::possible_cpus();
    let loading =
        Loading { file: options.object.as_ref(), sizes: options.sizes, conntrack, drops, cpus };
    let mut object = object::load(&loading)?;
    let ring = EventRing::take(&mut object)?;
    let control = Control::of(&object)?;
    Ok((RowMemory::new(object, options.sizes, cpus)?, ring, control))
}

fn attach_kprobe(object: &mut Ebpf, hook: &Hook, program: &'static str) -> Result<(), ProbeError> {
    let program: &mut KProbe =
        object.program_mut(program).ok_or(ProbeError::Lacks(program))?.try_into()?;
    program.load()?;
    program.attach(hook.symbol, 0)?;
    Ok(())
}

/// A sentence: what is missing, why, and what to do.
fn why_not(hook: &Hook, error: &ProbeError) -> String {
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
