//! What changes from one listing of blocks and caps to the next. The kernel tells nobody when the time of one is over, so
//! listings are compared.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{
    event::{Block, Event, EventKind, Kind},
    moment::Moment,
    source,
};

const NS_PER_S: i128 = 1_000_000_000;
/// The kernel tells in whole seconds how much longer a block lasts.
const SLACK_NS: i128 = 2 * NS_PER_S;

/// One block or cap, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Who.
    pub network: IpNet,
    /// How many entries it may hold; `None` for a block.
    pub entries_max: Option<u32>,
    /// How much longer, in seconds; `None` if for ever.
    pub left_s: Option<u64>,
    /// Who did it and why, as far as that is written beside it.
    pub by_and_why: Option<(String, String)>,
    /// Packets that were dropped since; `None` if they are not counted.
    pub dropped_packets: Option<u64>,
}

/// The blocks and caps of a namespace, as they were listed last; `None` before the first time.
#[derive(Clone, Debug, Default)]
pub struct Blocks(Option<BTreeMap<Key, Block>>);

/// A source may be blocked and capped at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    network: IpNet,
    is_cap: bool,
}

impl Blocks {
    /// What has changed since the last listing. Those of the first one were there before.
    pub fn compare(&mut self, netns: u32, now: Moment, listed: Vec<Listed>) -> Vec<Event> {
        let now_ns = now.wall_ns;
        let is_first = self.0.is_none();
        let mut before = self.0.take().unwrap_or_default();
        let mut after = BTreeMap::new();
        let mut events = Vec::new();
        for listed in listed {
            let key = Key { network: listed.network, is_cap: listed.entries_max.is_some() };
            let mut block = block(listed, now_ns);
            let kind = match before.remove(&key) {
                None if is_first => None,
                None if key.is_cap => Some(EventKind::Capped),
                None => Some(EventKind::Blocked),
                Some(old) if is_anew(&old, &block) => Some(EventKind::Prolonged),
                Some(old) => {
                    block.until_wall_ns = old.until_wall_ns;
                    None
                }
            };
            events.extend(kind.map(|kind| event(netns, now_ns, kind, key, block.clone())));
            after.insert(key, block);
        }
        for (key, block) in before {
            let is_over = block.until_wall_ns.is_some_and(|until| now_ns + SLACK_NS >= until);
            let kind = if is_over { EventKind::Expired } else { EventKind::Lifted };
            events.push(event(netns, now_ns, kind, key, block));
        }
        self.0 = Some(after);
        events
    }
}

fn block(listed: Listed, now_ns: i128) -> Block {
    let Listed { entries_max, left_s, by_and_why, dropped_packets, .. } = listed;
    let (by, why) = by_and_why.unzip();
    Block {
        by,
        why: why.filter(|why| !why.is_empty()),
        until_wall_ns: left_s.map(|left_s| now_ns + i128::from(left_s) * NS_PER_S),
        entries_max,
        dropped_packets,
    }
}

/// Whether it has its time anew, or is another one.
fn is_anew(old: &Block, new: &Block) -> bool {
    let is_other_time = match (old.until_wall_ns, new.until_wall_ns) {
        (Some(old), Some(new)) => (new - old).abs() > SLACK_NS,
        (old, new) => old != new,
    };
    is_other_time || (&old.by, &old.why, old.entries_max) != (&new.by, &new.why, new.entries_max)
}

fn event(netns: u32, wall_ns: i128, kind: EventKind, key: Key, block: Block) -> Event {
    let mut source = source::key(netns, key.network.addr(), 0);
    source.prefix_length = key.network.prefix_len();
    Event { kind, block: Some(block), ..Event::unseen(Kind::Blocked, source, 1, wall_ns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(network: &str, left_s: u64) -> Listed {
        Listed {
            network: network.parse().unwrap(),
            entries_max: None,
            left_s: Some(left_s),
            by_and_why: Some(("root".to_owned(), String::new())),
            dropped_packets: Some(left_s),
        }
    }

    fn compare(blocks: &mut Blocks, at_s: i128, listed: &[Listed]) -> Vec<(String, EventKind)> {
        let now = Moment { monotonic_ns: 0, wall_ns: at_s * NS_PER_S };
        let events = blocks.compare(1, now, listed.to_vec());
        events.iter().map(|event| (source::text(&event.source), event.kind)).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut blocks = Blocks::default();
        let of = |network: &str, kind| vec![(network.to_owned(), kind)];
        // That was there before.
        assert_eq!(compare(&mut blocks, 0, &[listed("10.0.1.1/32", 60)]), []);
        let both = [listed("10.0.1.1/32", 59), listed("10.0.2.0/24", 10)];
        assert_eq!(compare(&mut blocks, 1, &both), of("10.0.2.0/24", EventKind::Blocked));
        assert_eq!(compare(&mut blocks, 1, &both), []);
        let prolonged = [listed("10.0.1.1/32", 600), listed("10.0.2.0/24", 9)];
        assert_eq!(compare(&mut blocks, 2, &prolonged), of("10.0.1.1", EventKind::Prolonged));
        let first = [listed("10.0.1.1/32", 591)];
        assert_eq!(compare(&mut blocks, 11, &first), of("10.0.2.0/24", EventKind::Expired));
        let cap = Listed { entries_max: Some(200), ..listed("10.0.1.1/32", 591) };
        let both = [listed("10.0.1.1/32", 591), cap];
        assert_eq!(compare(&mut blocks, 11, &both), of("10.0.1.1", EventKind::Capped));
        let cap = Listed { entries_max: Some(300), ..listed("10.0.1.1/32", 590) };
        let both = [listed("10.0.1.1/32", 590), cap.clone()];
        assert_eq!(compare(&mut blocks, 12, &both), of("10.0.1.1", EventKind::Prolonged));
        assert_eq!(compare(&mut blocks, 13, &[cap]), of("10.0.1.1", EventKind::Lifted));
    }

    #[test]
    fn it_tells_by_whom_and_what_was_dropped() {
        let mut blocks = Blocks::default();
        let now = Moment { monotonic_ns: 0, wall_ns: 0 };
        blocks.compare(1, now, Vec::new());
        let events = blocks.compare(1, now, vec![listed("10.0.1.1/32", 60)]);
        let block = events[0].block.as_ref().unwrap();
        assert_eq!((block.by.as_deref(), block.why.as_deref()), (Some("root"), None));
        assert_eq!(block.until_wall_ns, Some(60 * NS_PER_S));
        assert_eq!(block.dropped_packets, Some(60));
    }
}
