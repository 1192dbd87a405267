//! Reads a namespace's own addresses, its routers, and whether it serves SSH.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{namespace::NetworkNamespace, next_hops};
use crate::advise::addresses::Addresses;

/// /proc/net follows the process, not the thread.
const DIRECTORY: &str = "/proc/thread-self/net/";
const SSH: u16 = 22;
/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTENING: &str = "0A";

/// Reads them; what cannot be read is `None`.
pub fn read_in(namespace: &NetworkNamespace) -> Addresses {
    namespace.run(read).unwrap_or_default()
}

fn read() -> Addresses {
    let text = |name: &str| fs::read_to_string(format!("{DIRECTORY}{name}")).ok();
    // A kernel without IPv6 has none of its files.
    let v6 = |name: &str| text(name).unwrap_or_default();
    Addresses {
        own: text("fib_trie").map(|trie| own(&trie, &v6("if_inet6"))),
        routers: next_hops::read().ok().map(|routers| routers.into_iter().collect()),
        serves_ssh: text("tcp").map(|tcp| listens(&tcp, SSH) || listens(&v6("tcp6"), SSH)),
    }
}

/// Addresses of which the routing table says that they are local (`fib_trie_seq_show`, net/ipv4/fib_trie.c), and those of
/// interfaces (`if6_seq_show`, net/ipv6/addrconf.c).
fn own(fib_trie: &str, if_inet6: &str) -> Vec<IpAddr> {
    let mut own = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in fib_trie.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim().parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            own.extend(leaf.map(IpAddr::V4));
        }
    }
    let addresses = if_inet6.lines().filter_map(|line| line.split_whitespace().next());
    own.extend(addresses.filter_map(ipv6));
    own.into_iter().collect()
}

/// Whether a socket listens on this port (`get_tcp4_sock`, net/ipv4/tcp_ipv4.c).
fn listens(tcp: &str, port: u16) -> bool {
    tcp.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _remote, state) = (words.next(), words.next(), words.next());
        let at = local.and_then(|local| local.rsplit_once(':'));
        let found = at.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        state == Some(LISTENING) && found == Some(port)
    })
}

/// 32 hexadecimal digits.
fn ipv6(digits: &str) -> Option<IpAddr> {
    if digits.len() != 32 {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.255.0.0
        /30 link UNICAST
Local:
  +-- 0.0.0.0/0 2 0 2
     |-- 10.255.0.1
        /32 host LOCAL
     |-- 10.255.0.3
        /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
Local:
     |-- 127.0.0.1
        /32 host LOCAL
";

    #[test]
    fn own_addresses_are_the_local_ones_of_both_families() {
        let inet6 = "20010db8000200000000000000000002 03 40 00 80   server\nnonsense 01 80\n";
        let own: Vec<String> = own(TRIE, inet6).iter().map(ToString::to_string).collect();
        assert_eq!(own, ["10.255.0.1", "127.0.0.1", "2001:db8:2::2"]);
        assert!(self::own("", "").is_empty());
    }

    #[test]
    fn only_a_socket_that_listens_on_the_port_serves_it() {
        let head = "  sl  local_address rem_address   st tx_queue\n";
        let line = |port: &str, state: &str| {
            format!("{head}   0: 0100007F:{port} 00000000:0000 {state} 00000000:00000000\n")
        };
        assert!(listens(&line("0016", "0A"), 22));
        assert!(!listens(&line("0016", "01"), 22));
        assert!(!listens(&line("1F90", "0A"), 22));
        assert!(!listens(head, 22));
    }
}
