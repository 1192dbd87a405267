//! What the hooks expect of the kernel's functions is what this kernel declares.

use std::sync::Arc;

use ctwatch::probe::{btf::Btf, drops, hooks::HOOKS, tracing::MODULE};
use ctwatch_lab::skip;

use crate::observed::gateway;

#[test]
fn exactness_of_the_hooks_prototypes() {
    // It makes the kernel load the module.
    let Some(_gateway) = gateway() else { return };
    let kernel = Arc::new(Btf::of_kernel().unwrap());
    let dropped = kernel.tracepoint_prototype("kfree_skb").unwrap();
    assert!(drops::PROTOTYPES.contains(&dropped.as_str()), "unexpected: {dropped}");
    let Ok(module) = Btf::of_module(MODULE, kernel) else {
        return skip("this kernel has no BTF for modules: the functions' prototypes are not known");
    };
    for hook in HOOKS {
        let found = module.prototype(hook.symbol).unwrap();
        println!("{found}");
        assert!(hook.prototypes.contains(&found.as_str()), "unexpected: {found}");
    }
}
