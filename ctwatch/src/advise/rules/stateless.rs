//! Services of which each packet stands for itself, so that a server loses nothing without connection tracking.

/// Ports of UDP, and what is served there.
const SERVICES: &[(u16, &str)] = &[
    (53, "DNS"),
    (123, "NTP"),
    (161, "SNMP"),
    (162, "SNMP traps"),
    (514, "syslog"),
    (1812, "RADIUS"),
    (1813, "RADIUS accounting"),
    (2055, "NetFlow"),
    (4739, "IPFIX"),
    (6343, "sFlow"),
    (8125, "StatsD"),
];
const UDP: u8 = 17;

/// What is served there, if each packet stands for itself.
pub(super) fn service(port: Option<u16>, protocol: u8) -> Option<&'static str> {
    let found = SERVICES.iter().find(|(known, _)| protocol == UDP && port == Some(*known));
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_service_has_a_port_and_is_of_udp() {
        assert_eq!(super::service(Some(53), 17), Some("DNS"));
        assert_eq!(super::service(Some(53), 6), None);
        assert_eq!((super::service(Some(443), 17), super::service(None, 17)), (None, None));
    }
}
