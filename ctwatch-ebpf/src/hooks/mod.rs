//! The hooks, one a file. Each says with `prototype:` what kernel function it stands on.

mod alloc;
mod early_drop;
mod free;
mod kfree_skb;
mod maintain;
