//! How many calls the hooks missed, by the kernel's own count. Reading it makes none missed: the calls of bpf(2)
//! that ask for information do not keep programs from running, as those on maps do.
//!
//! A probe is missed in two ways. Another probe runs on that CPU already, as where a softirq interrupts a hook:
//! then it is not reached (`nmissed` of the probe; kernel/kprobes.c, kprobes_inc_nmissed_count). Or it is reached
//! and another program of any kind runs (kernel/trace/bpf_trace.c, trace_call_bpf): then its program is skipped.
//! A traced function misses only where the same program runs on that CPU already (kernel/bpf/trampoline.c,
//! __bpf_prog_enter_recur).

use std::os::fd::{AsFd, OwnedFd};

use aya::programs::{KProbe, loaded_links};

use super::{
    error::ProbeError,
    hooks::{ALLOC, EARLY_DROP, FREE, Hook},
    syscall,
};
use crate::model::misses::Missed;

/// Where the kernel counts the misses of each program of the hooks.
#[derive(Debug, Default)]
pub struct MissCounters(Vec<Counter>);

#[derive(Debug)]
struct Counter {
    kind: Kind,
    program: OwnedFd,
    probe: Probe,
}

/// What one missed run leaves out.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Attempt,
    End,
    Refusal,
    Other,
}

/// What stands between the function and the program.
#[derive(Debug)]
enum Probe {
    /// Nothing that could miss a call.
    Trampoline,
    /// A kprobe, which can; `None` where the kernel does not tell how often, or does not let us ask.
    Kprobe(Option<OwnedFd>),
}

impl MissCounters {
    /// Adds a program that traces a function.
    pub fn add_traced(&mut self, hook: &Hook, program: &'static str, descriptor: OwnedFd) {
        let kind = kind_of(hook, program);
        self.0.push(Counter { kind, program: descriptor, probe: Probe::Trampoline });
    }

    /// Adds a kprobe that has been attached.
    ///
    /// # Errors
    ///
    /// If its descriptor cannot be had.
    pub fn add_kprobe(
        &mut self,
        hook: &Hook,
        name: &'static str,
        program: &KProbe,
    ) -> Result<(), ProbeError> {
        let id = program.info()?.id();
        // Before 5.15 probes have no links, and nothing tells what they missed.
        let mut links = loaded_links().filter_map(Result::ok);
        let link = links.find(|link| link.program_id() == id);
        let link = link.and_then(|link| syscall::link_by_id(link.id()).ok());
        self.0.push(Counter {
            kind: kind_of(hook, name),
            program: program.fd()?.as_fd().try_clone_to_owned()?,
            probe: Probe::Kprobe(link),
        });
        Ok(())
    }

    /// The misses of all programs since they were attached; `None` where the kernel does not tell those of one.
    pub fn read(&self) -> Option<Missed> {
        let mut missed = Missed::default();
        for counter in &self.0 {
            let runs = counter.read()?;
            let sum = match counter.kind {
                Kind::Attempt => &mut missed.attempts,
                Kind::End => &mut missed.ended,
                Kind::Refusal => &mut missed.refusals,
                Kind::Other => &mut missed.others,
            };
            *sum = sum.saturating_add(runs);
        }
        (!self.0.is_empty()).then_some(missed)
    }
}

impl Counter {
    fn read(&self) -> Option<u64> {
        let skipped = syscall::program_misses(self.program.as_fd()).ok()??;
        match &self.probe {
            Probe::Trampoline => Some(skipped),
            Probe::Kprobe(link) => {
                let unreached = syscall::link_misses(link.as_ref()?.as_fd()).ok()??;
                Some(skipped.saturating_add(unreached))
            }
        }
    }
}

fn kind_of(hook: &Hook, program: &str) -> Kind {
    let is_last = hook.programs.last() == Some(&program)
        || hook.traced.last().is_some_and(|traced| traced.program == program);
    match hook.name {
        name if name == ALLOC.name => Kind::Attempt,
        name if name == FREE.name => Kind::End,
        // Its return says whether the packet was refused.
        name if name == EARLY_DROP.name && is_last => Kind::Refusal,
        _ => Kind::Other,
    }
}
