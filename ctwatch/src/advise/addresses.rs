//! The addresses that the machine itself has or depends on, so that no advice cuts it off.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Addresses of the namespace that is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Addresses {
    /// Its own; `None` if they could not be read.
    pub own: Option<Vec<IpAddr>>,
    /// Routers that its routes lead to; `None` if they could not be read.
    pub routers: Option<Vec<IpAddr>>,
    /// Whether something listens on TCP port 22 here; `None` if that could not be read.
    pub serves_ssh: Option<bool>,
}

impl Addresses {
    /// Whether an address is its own; `None` if that is not known.
    pub fn is_own(&self, address: IpAddr) -> Option<bool> {
        Some(self.own.as_ref()?.contains(&address))
    }

    /// Why nothing of `network` may be blocked, if that is so.
    pub fn why_spared(&self, network: &IpNet) -> Option<&'static str> {
        let is_among = |addresses: &Option<Vec<IpAddr>>| {
            addresses.iter().flatten().any(|address| network.contains(address))
        };
        if is_among(&self.own) {
            Some("an address of this machine itself")
        } else if is_among(&self.routers) {
            Some("a router that this machine depends on")
        } else {
            None
        }
    }

    /// Whether both kinds are known.
    pub fn are_known(&self) -> bool {
        self.own.is_some() && self.routers.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_has_or_depends_on_is_spared() {
        let addresses = Addresses {
            own: Some(vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
            routers: Some(vec!["192.0.2.1".parse().unwrap()]),
            serves_ssh: None,
        };
        let spared = |network: &str| addresses.why_spared(&network.parse().unwrap());
        assert!(spared("10.0.0.1/32").is_some_and(|why| why.contains("itself")));
        assert!(spared("2001:db8::/64").is_some_and(|why| why.contains("itself")));
        assert!(spared("192.0.2.1/32").is_some_and(|why| why.contains("router")));
        assert_eq!(spared("10.0.0.2/32"), None);
        assert_eq!(Addresses::default().why_spared(&"10.0.0.1/32".parse().unwrap()), None);
        assert_eq!(Addresses::default().is_own("10.0.0.1".parse().unwrap()), None);
        assert!(addresses.are_known() && !Addresses::default().are_known());
    }
}
