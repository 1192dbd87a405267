//! What the hooks expect of the kernel's functions is what this kernel declares.

use std::sync::Arc;

use ctwatch::probe::{
    btf::Btf,
    drops,
    hooks::{HOOKS, RARE_HOOKS},
    tracing::MODULE,
};
use ctwatch_lab::skip;

use crate::observed::gateway;

/// Where users' deletions come in.
const CTNETLINK: &str = "nf_conntrack_netlink";

#[test]
fn exactness_of_the_hooks_prototypes() {
    // It makes the kernel load the module.
    let Some(_gateway) = gateway() else { return };
    let kernel = Arc::new(Btf::of_kernel().unwrap());
    let dropped = kernel.tracepoint_prototype("kfree_skb").unwrap();
    assert!(drops::PROTOTYPES.contains(&dropped.as_str()), "unexpected: {dropped}");
    let modules: Vec<Btf> = [MODULE, CTNETLINK]
        .into_iter()
        .filter_map(|module| Btf::of_module(module, Arc::clone(&kernel)).ok())
        .collect();
    if modules.is_empty() {
        return skip("this kernel has no BTF for modules: the functions' prototypes are not known");
    }
    let mut unexpected = Vec::new();
    for hook in HOOKS.iter().chain(RARE_HOOKS) {
        let found = modules.iter().find_map(|module| module.prototype(hook.symbol)).unwrap();
        println!("{found}");
        if !hook.prototypes.contains(&found.as_str()) {
            unexpected.push(found);
        }
    }
    assert_eq!(unexpected, [""; 0]);
}
