//! Where values hold: which network namespace in which start of the machine, and how to find it again later.

use std::{io, str::FromStr as _};

use super::{
    machine::{Machine, initial_namespace, is_initial},
    record::Place,
};
use crate::host::{
    boot,
    namespace::{NamespaceTarget, NetworkNamespace},
    namespace_list::all_namespaces,
};

impl Place {
    /// This namespace, now.
    ///
    /// # Errors
    ///
    /// The kernel does not tell which start of the machine this is.
    pub fn now(namespace: &NetworkNamespace) -> io::Result<Self> {
        Ok(Self {
            boot: boot::id()?,
            netns: namespace.inode(),
            netns_name: namespace.target().to_string(),
            is_initial: is_initial(namespace),
        })
    }

    /// The machine with this namespace's values, which may be gone with it.
    pub fn machine(&self, boot: &str) -> Machine {
        Machine::new(self.find(boot))
    }

    /// By its number as long as the machine has not been started anew: names and processes come and go. After a new start
    /// by its name.
    fn find(&self, boot: &str) -> Option<NetworkNamespace> {
        if self.is_initial {
            return initial_namespace();
        }
        let named = NamespaceTarget::from_str(&self.netns_name)
            .ok()
            .and_then(|target| NetworkNamespace::open(&target).ok());
        if boot != self.boot {
            return named.filter(|of| !matches!(of.target(), NamespaceTarget::OwnNamespace));
        }
        named.filter(|namespace| namespace.inode() == self.netns).or_else(|| {
            let all = all_namespaces();
            let found = all.iter().find(|namespace| namespace.inode == self.netns)?;
            NetworkNamespace::open(&found.target).ok()
        })
    }
}
