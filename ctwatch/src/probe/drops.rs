//! The program on dropped packets: where conntrack cannot be hooked, the trace of a refusal.

use aya::{Ebpf, programs::BtfTracePoint};

use super::{
    error::ProbeError,
    memory::{Access, SharedWords},
    rows::fd_of,
};

/// Tells the program whether a dropped packet may be a refusal now.
#[derive(Debug)]
pub struct Switch(SharedWords);

/// Loads and attaches the program, switched off.
///
/// # Errors
///
/// If the kernel has no such tracepoint, or does not allow it.
pub fn attach(ebpf: &mut Ebpf) -> Result<Switch, ProbeError> {
    let words = SharedWords::map(fd_of(ebpf, "WATCH_DROPS")?, 1, Access::Write)?;
    let btf = aya::Btf::from_sys_fs()?;
    let program: &mut BtfTracePoint =
        ebpf.program_mut("kfree_skb").ok_or(ProbeError::Lacks("program kfree_skb"))?.try_into()?;
    program.load("kfree_skb", &btf)?;
    program.attach()?;
    Ok(Switch(words))
}

/// Whether drops are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// The table is near its limit.
    On,
    /// It is not, so no drop can be a refusal.
    Off,
}

impl Switch {
    /// Switches the program on or off.
    pub fn set(&self, watching: Watching) {
        self.0.store(0, u64::from(watching == Watching::On));
    }
}
