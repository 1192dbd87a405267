//! Which sources are shown: those of an address, a network or a protocol, or of several of these together.

use std::str::FromStr;

use ctwatch_common::source::SourceKey;
use ipnet::IpNet;

use crate::model::{protocol, source};

/// Every part has to match. Without parts everything does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    networks: Vec<IpNet>,
    protocols: Vec<u8>,
}

impl Filter {
    /// Whether it leaves nothing out.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.protocols.is_empty()
    }

    /// Whether all that the key stands for is meant: it has to be in each network, and of one of the protocols.
    pub fn matches(&self, key: &SourceKey) -> bool {
        self.networks.iter().all(|network| source::is_of(key, network))
            && (self.protocols.is_empty()
                || key.family != 0 && self.protocols.contains(&key.protocol))
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for word in text.split_whitespace() {
            if let Some(network) = network(word) {
                filter.networks.push(network);
            } else if let Some(protocol) = protocol(word) {
                filter.protocols.push(protocol);
            } else {
                return Err(format!(
                    "'{word}' is no address, network or protocol; e.g. 10.0.1.2, 10.0., 10.0.0.0/16, tcp"
                ));
            }
        }
        Ok(filter)
    }
}

/// An address, a network, or the beginning of an IPv4 address up to a dot.
fn network(word: &str) -> Option<IpNet> {
    if let Ok(network) = word.parse::<IpNet>() {
        return Some(network.trunc());
    }
    if let Ok(address) = word.parse::<std::net::IpAddr>() {
        return Some(address.into());
    }
    let octets = word.strip_suffix('.')?;
    let given = octets.split('.').count();
    let missing = 4_usize.checked_sub(given).filter(|missing| *missing > 0)?;
    format!("{octets}{}/{}", ".0".repeat(missing), given * 8).parse().ok()
}

fn protocol(word: &str) -> Option<u8> {
    let word = word.to_ascii_lowercase();
    word.parse().ok().or_else(|| (0..=u8::MAX).find(|number| protocol::name(*number) == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, address: &str, protocol: u8) -> bool {
        let key = source::key(1, address.parse().unwrap(), protocol);
        filter.parse::<Filter>().unwrap().matches(&key)
    }

    #[test]
    fn a_filter_is_of_addresses_networks_and_protocols() {
        assert!(matches("", "10.0.1.2", 6));
        assert!(matches("10.0.1.2", "10.0.1.2", 6) && !matches("10.0.1.2", "10.0.1.3", 6));
        assert!(matches("10.0.1.9/24", "10.0.1.3", 6) && !matches("10.0.2.0/24", "10.0.1.3", 6));
        assert!(matches("10.0.", "10.0.1.3", 6) && !matches("10.1.", "10.0.1.3", 6));
        assert!(matches("2001:db8::/32", "2001:db8::1", 6) && !matches("::/0", "10.0.1.3", 6));
        assert!(matches("UDP", "10.0.1.3", 17) && matches("47", "10.0.1.3", 47));
        assert!(matches("10. tcp udp", "10.0.1.3", 17) && !matches("10. tcp", "10.0.1.3", 17));
    }

    #[test]
    fn what_is_neither_is_said() {
        for wrong in ["10.0.1", "10.0.1.300", "tpc", "10.0.0.0/33", ".", "1.2.3.4.", "300"] {
            let error = wrong.parse::<Filter>().unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
