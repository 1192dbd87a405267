//! The program on dropped packets: where conntrack cannot be hooked, the trace of a refusal.

use aya::{Ebpf, programs::BtfTracePoint};

use super::error::ProbeError;

/// Loads and attaches the program, switched off.
///
/// # Errors
///
/// If the kernel has no such tracepoint, or does not allow it.
pub fn attach(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let btf = aya::Btf::from_sys_fs()?;
    let program: &mut BtfTracePoint =
        ebpf.program_mut("kfree_skb").ok_or(ProbeError::Lacks("program kfree_skb"))?.try_into()?;
    program.load("kfree_skb", &btf)?;
    program.attach()?;
    Ok(())
}
