//! The hooks on what happens rarely: kprobes beside whichever rung the others stand on, each by itself. Where one cannot
//! be had only what it tells is missing.
//!
//! As kprobes they pin no module, so that `nf_conntrack_netlink` can come and go.

use std::path::Path;

use aya::{
    Ebpf,
    programs::{KProbe, kprobe::KProbeLinkId},
};

use super::{
    attach::why_not,
    error::ProbeError,
    hooks::{CLASH, CONFIRM, DELETION, DELETION_BY_USER, GC, Hook},
};
use crate::model::mode::Rung;

/// Where the kernel shows that ctnetlink is loaded or built in.
const CTNETLINK: &str = "/sys/module/nf_conntrack_netlink";

/// What is attached of them.
#[derive(Debug, Default)]
pub struct RareHooks {
    /// On the garbage collector.
    pub gc: Rung,
    /// On deletions.
    pub deletion: Rung,
    /// While ctnetlink is loaded.
    by_user: Option<Attached>,
}

type Attached = Vec<(&'static str, KProbeLinkId)>;

impl RareHooks {
    /// Attaches what is needed from the beginning; the sentences say what is missing.
    pub fn attach(object: &mut Ebpf) -> (Self, Vec<String>) {
        let mut missing = Vec::new();
        let mut rung_of = |hook: &Hook, object: &mut Ebpf| match attach(object, hook) {
            Ok(_) => Rung::Kprobe,
            Err(error) => {
                missing.push(why_not(hook, &error));
                Rung::None
            }
        };
        let gc = rung_of(&GC, object);
        let deletion = rung_of(&DELETION, object);
        let mut rare = Self { gc, deletion, by_user: None };
        missing.extend(rare.follow_ctnetlink(object));
        (rare, missing)
    }

    /// Attaches to ctnetlink once it is there, and lets go of it once it is not: then no user can delete anything. Says
    /// what is missing from now on.
    pub fn follow_ctnetlink(&mut self, object: &mut Ebpf) -> Option<String> {
        let is_loaded = Path::new(CTNETLINK).exists();
        if !is_loaded {
            if let Some(attached) = self.by_user.take() {
                detach(object, attached);
            }
            return None;
        }
        if self.by_user.is_some() || self.deletion == Rung::None {
            return None;
        }
        match attach(object, &DELETION_BY_USER) {
            Ok(attached) => {
                self.by_user = Some(attached);
                None
            }
            Err(error) => {
                self.deletion = Rung::None;
                Some(why_not(&DELETION_BY_USER, &error))
            }
        }
    }
}

/// Attaches what sees entries that cannot be inserted; it costs something with each new entry.
///
/// # Errors
///
/// A sentence that says what is missing.
pub fn arm_confirm(object: &mut Ebpf) -> Result<Rung, String> {
    // First the one that tells a clash from a chain that is too long.
    for hook in [&CLASH, &CONFIRM] {
        attach(object, hook).map_err(|error| why_not(hook, &error))?;
    }
    Ok(Rung::Kprobe)
}

/// Attaches the programs of a hook, the one at the return first: an entry that is noted is always crossed out again.
fn attach(object: &mut Ebpf, hook: &Hook) -> Result<Attached, ProbeError> {
    let mut attached = Attached::new();
    for name in hook.programs.iter().rev() {
        let program: &mut KProbe =
            object.program_mut(name).ok_or(ProbeError::Lacks(name))?.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        attached.push((name, program.attach(hook.symbol, 0)?));
    }
    Ok(attached)
}

fn detach(object: &mut Ebpf, attached: Attached) {
    for (name, link) in attached {
        let program = object.program_mut(name).and_then(|program| program.try_into().ok());
        if let Some(program) = program {
            let program: &mut KProbe = program;
            // The module is gone, and the probe with it.
            let _ = program.detach(link);
        }
    }
}
