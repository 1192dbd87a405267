//! Points in time as lists tell them: UTC, to the second.

use std::time::Duration;

use jiff::Timestamp;

use crate::blocklist::Blocklist;

/// The last second that every program takes, in 2038: they keep 32 bits of it.
const LAST_S: i64 = i32::MAX as i64;

/// When the list was made.
pub(super) fn made(list: &Blocklist) -> Timestamp {
    from_second(list.wall_ns / 1_000_000_000)
}

/// The first comment of a list: who made it, when, and how much is in it.
pub(super) fn header(list: &Blocklist) -> String {
    let (made, count) = (made(list), list.blocks.len());
    let blocks = if count == 1 { "block" } else { "blocks" };
    format!("# ctwatch blocklist of {made}: {count} {blocks}\n")
}

/// When what was blocked as the list was made is let in again.
pub(super) fn ended(list: &Blocklist, duration: Duration) -> Timestamp {
    from_second(list.wall_ns / 1_000_000_000 + i128::from(duration.as_secs().max(1)))
}

fn from_second(second: i128) -> Timestamp {
    let second = i64::try_from(second).unwrap_or(LAST_S).clamp(0, LAST_S);
    Timestamp::from_second(second).unwrap_or_default()
}
