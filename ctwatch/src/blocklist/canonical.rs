//! A list as every format takes it, whatever it was made of, and whatever the order of that.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{Block, Blocklist, Spared, protected::unmapped};

impl Blocklist {
    /// A list of these blocks, made at `wall_ns`. Addresses of IPv4 that are written as IPv6 are what they are, and host bits are
    /// cut off. What lies in another network goes into that, which is blocked for the longer of both times. Nobody blocks all
    /// addresses there are: such a network is spared.
    pub fn new(wall_ns: i128, blocks: impl IntoIterator<Item = Block>) -> Self {
        let mut blocks: Vec<Block> = blocks.into_iter().map(canonical).collect();
        // A wider network comes before those in it; of the same ones the longest block is first, so that its reason stays.
        blocks.sort_by(|one, other| {
            let key = |block: &Block| (block.network, Reverse(block.duration));
            key(one).cmp(&key(other)).then_with(|| one.why.cmp(&other.why))
        });
        let mut list = Self { wall_ns, ..Self::default() };
        let mut everything = BTreeMap::new();
        for block in blocks {
            if block.network.prefix_len() == 0 {
                everything.insert(block.network, "it is every address there is".to_owned());
                continue;
            }
            match list.blocks.last_mut() {
                Some(last) if last.network.contains(&block.network) => {
                    last.duration = last.duration.max(block.duration);
                }
                _ => list.blocks.push(block),
            }
        }
        list.spared =
            everything.into_iter().map(|(network, why)| Spared { network, why }).collect();
        list
    }
}

/// The block with its network as it is compared, whole seconds, and a reason of one line.
fn canonical(block: Block) -> Block {
    let part_s = u64::from(block.duration.subsec_nanos() > 0);
    let duration_s = block.duration.as_secs().saturating_add(part_s).max(1);
    let words = block.why.split(|each: char| each.is_whitespace() || each.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    Block {
        network: unmapped(&block.network),
        duration: Duration::from_secs(duration_s),
        why: words.join(" "),
    }
}

/// Whether a list is as [`Blocklist::new`] makes it; what it was made of does not matter then.
#[cfg(test)]
pub(crate) fn is_canonical(list: &Blocklist) -> bool {
    let again = Blocklist::new(list.wall_ns, list.blocks.clone());
    let disjoint = |pair: &[Block]| matches!(pair, [one, other] if one.network < other.network && !one.network.contains(&other.network));
    again.blocks == list.blocks && again.spared.is_empty() && list.blocks.windows(2).all(disjoint)
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;
    use crate::blocklist::formats::samples;

    fn block(network: &str, duration_ms: u64, why: &str) -> Block {
        let network: IpNet = network.parse().unwrap();
        Block { network, duration: Duration::from_millis(duration_ms), why: why.to_owned() }
    }

    #[test]
    fn odd_blocks_become_what_was_meant() {
        let list = Blocklist::new(
            7,
            [
                block("2001:db8::7/64", 1, " two\r\nlines\0"),
                block("10.0.1.66/32", 600_000, "a"),
                block("::ffff:10.0.1.66/128", 900_001, "as IPv6"),
                block("10.9.1.0/24", 900_000, "in the network"),
                block("10.9.0.5/16", 600_000, "with host bits"),
                block("0.0.0.0/0", 1, "all"),
                block("::ffff:0:0/96", 1, "all"),
                block("::/0", 1, "all"),
            ],
        );
        assert_eq!(
            list.blocks,
            [
                block("10.0.1.66/32", 901_000, "as IPv6"),
                block("10.9.0.0/16", 900_000, "with host bits"),
                block("2001:db8::/64", 1000, "two lines"),
            ]
        );
        let spared: Vec<String> =
            list.spared.iter().map(|spared| spared.network.to_string()).collect();
        assert_eq!((list.wall_ns, spared), (7, vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()]));
    }

    proptest! {
        #[test]
        fn a_list_blocks_all_that_was_given_for_at_least_as_long(blocks in samples::blocks()) {
            let list = Blocklist::new(0, blocks.clone());
            prop_assert!(is_canonical(&list), "{list:?}");
            for block in blocks {
                let network = unmapped(&block.network);
                let is_blocked = list.blocks.iter().any(|each| each.network.contains(&network) && each.duration >= block.duration);
                prop_assert!(is_blocked || network.prefix_len() == 0, "{block:?} in {list:?}");
            }
        }

        #[test]
        fn the_order_of_what_was_given_does_not_matter(
            (blocks, shuffled) in samples::blocks().prop_flat_map(|blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle()))
        ) {
            prop_assert_eq!(Blocklist::new(0, blocks), Blocklist::new(0, shuffled));
        }
    }
}
