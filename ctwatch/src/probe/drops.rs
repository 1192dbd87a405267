//! The program on dropped packets: where conntrack cannot be hooked, the trace of a refusal.

use aya::{Ebpf, programs::BtfTracePoint};

use super::error::ProbeError;

/// How the tracepoint's program is called, on one kernel or another; as [`super::hooks::Hook::prototypes`].
pub const PROTOTYPES: &[&str] = &[
    "void kfree_skb(void *, struct sk_buff *, void *)",
    "void kfree_skb(void *, struct sk_buff *, void *, enum skb_drop_reason)",
    "void kfree_skb(void *, struct sk_buff *, void *, enum skb_drop_reason, struct sock *)",
    "void kfree_skb(void *, struct sk_buff *, void *, enum skb_drop_reason, const struct sock *)",
];

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
