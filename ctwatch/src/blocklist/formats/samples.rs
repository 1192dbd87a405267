//! Blocks for tests: all that a list can be made of.

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use crate::blocklist::{Block, Blocklist};

/// Blocks, many of them near each other.
pub(crate) fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let ipv4 = (0_u32..1024, 0_u8..=32).prop_map(|(near, length)| {
        IpNet::from(Ipv4Net::new((0x0A00_0000 + near * 64).into(), length).unwrap())
    });
    let ipv6 = (any::<u128>(), 0_u8..=128)
        .prop_map(|(any, length)| Ipv6Net::new(any.into(), length).unwrap().into());
    let mapped = (any::<u32>(), 96_u8..=128).prop_map(|(any, length)| {
        Ipv6Net::new(std::net::Ipv4Addr::from(any).to_ipv6_mapped(), length).unwrap().into()
    });
    let address = (0_u32..65_536)
        .prop_map(|near| IpNet::from(std::net::IpAddr::from((0x0A00_0000 + near).to_be_bytes())));
    let network = prop_oneof![address, ipv4, ipv6, mapped];
    let duration = prop_oneof![0_u64..100_000_000, Just(31_536_000_000)];
    let why = prop_oneof![
        any::<String>(),
        "[-a-z0-9 %,;:#{}\"'\\\\\n\r\t=$`é日]{0,40}",
        "[a-zé \"#]{100,500}"
    ];
    let block = (network, duration, why).prop_map(|(network, duration_ms, why)| Block {
        network,
        duration: Duration::from_millis(duration_ms),
        why,
    });
    proptest::collection::vec(block, 0..20)
}

/// Lists of them, made some time from 1970 to 2033.
pub(crate) fn lists() -> impl Strategy<Value = Blocklist> {
    (0_i128..2_000_000_000_000_000_000, blocks())
        .prop_map(|(wall_ns, blocks)| Blocklist::new(wall_ns, blocks))
}
