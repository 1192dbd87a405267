//! Reads what the machine is and how it is set, as far as that matters to the table of a namespace.

use crate::{
    advise::{facts::Modules, machine_state::MachineState},
    clock,
    conntrack::policies,
    exit::CommandError,
    host::{facts, namespace::NetworkNamespace, settings},
};

/// Reads it now. `modules_before` is how conntrack was in the kernel before anything was attached: functions that are traced hold
/// the module, and let it go a while after they are traced no more.
///
/// # Errors
///
/// If the settings cannot be read: the namespace is gone, or conntrack is not loaded.
pub(super) fn read_in(
    namespace: &NetworkNamespace,
    modules_before: &Modules,
) -> Result<MachineState, CommandError> {
    let settings = settings::read_in(namespace)
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error)))?;
    let mut facts = facts::read_in(namespace, &settings);
    facts.timeouts_of_rules = policies::count_in(namespace).ok();
    if modules_before.is_loaded {
        facts.modules = modules_before.clone();
    }
    Ok(MachineState { wall_ns: clock::now().wall_ns, netns: namespace.inode(), settings, facts })
}
