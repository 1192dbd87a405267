//! The hooks, one a file. Each says with `prototype:` what kernel function it stands on.

mod alloc;
mod confirm;
mod deletion;
mod early_drop;
mod free;
mod gc_worker;
mod kfree_skb;
mod maintain;
