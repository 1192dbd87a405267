//! In which order values are changed, so that no moment between two of them is worse than before or after: buckets grow
//! before the limit rises, and the limit falls before they shrink. Undoing goes the other way round.

use super::record::PlannedChange;
use crate::advise::settings::{HASHSIZE, LIMIT};

/// Puts changes into that order. Those that do not matter to it stay as they were, at the end.
pub fn order(changes: &mut [PlannedChange]) {
    changes.sort_by_key(|change| match change.key.as_str() {
        LIMIT if is_lower(change) => 0,
        HASHSIZE => 1,
        LIMIT => 2,
        _ => 3,
    });
}

/// Whether a change lowers its value; a limit of 0 is none, which is more than any.
pub fn is_lower(change: &PlannedChange) -> bool {
    let size = |value: u64| if change.key == LIMIT && value == 0 { u64::MAX } else { value };
    size(change.to) < size(change.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(changes: &[(&str, u64, u64)]) -> Vec<String> {
        let change =
            |&(key, from, to): &(&str, u64, u64)| PlannedChange { key: key.into(), from, to };
        let mut changes: Vec<PlannedChange> = changes.iter().map(change).collect();
        order(&mut changes);
        changes.into_iter().map(|change| change.key).collect()
    }

    #[test]
    fn buckets_grow_before_the_limit_and_shrink_after_it() {
        let udp = "net.netfilter.nf_conntrack_udp_timeout";
        assert_eq!(
            ordered(&[(udp, 30, 20), (LIMIT, 1, 2), (HASHSIZE, 1, 2)]),
            [HASHSIZE, LIMIT, udp]
        );
        assert_eq!(ordered(&[(HASHSIZE, 2, 1), (LIMIT, 2, 1)]), [LIMIT, HASHSIZE]);
        assert_eq!(ordered(&[(HASHSIZE, 2, 1), (LIMIT, 0, 9)]), [LIMIT, HASHSIZE]);
    }
}
