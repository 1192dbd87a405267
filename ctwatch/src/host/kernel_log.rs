//! What the kernel's log tells of a full table, read from `/dev/kmsg` with a position of its own, so that nobody else misses
//! a line; no line is kept, and what programs wrote into the log is passed over.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
};

use rustix::fs::{Mode, OFlags, open};

use crate::{advise::facts::LogSigns, clock};

const KERNEL_LOG: &str = "/dev/kmsg";
/// One read gives one record, and no record is longer (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h).
const RECORD_BYTES_MAX: usize = 8192;
/// More than the largest log has; a log that is written faster than it is read must not keep the reader for ever.
const RECORDS_MAX: usize = 4_000_000;

/// Reads the whole log as it is now.
///
/// # Errors
///
/// It is not there, or this user may not read it (`kernel.dmesg_restrict` asks for CAP_SYSLOG).
pub fn read() -> io::Result<LogSigns> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut log = File::from(open(KERNEL_LOG, flags, Mode::empty())?);
    let mut reading = Reading::default();
    let mut record = [0; RECORD_BYTES_MAX];
    for _ in 0..RECORDS_MAX {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(bytes) => {
                reading.take(&String::from_utf8_lossy(record.get(..bytes).unwrap_or_default()));
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => break,
                // Records were overwritten before they were read: the next read goes on at the oldest.
                ErrorKind::BrokenPipe | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
    Ok(reading.signs(clock::now().monotonic_ns / 1000))
}

/// What the records read so far told.
#[derive(Debug, Default)]
struct Reading {
    signs: LogSigns,
    first_us: Option<u64>,
    last_full_us: Option<u64>,
}

impl Reading {
    /// Takes one record `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT` (Documentation/ABI/testing/dev-kmsg).
    fn take(&mut self, record: &str) {
        let Some((prefix, text)) = record.split_once(';') else { return };
        let mut fields = prefix.split(',');
        let priority = fields.next().and_then(|field| field.parse::<u32>().ok());
        let logged_us = fields.nth(1).and_then(|field| field.parse().ok());
        self.first_us = self.first_us.or(logged_us);
        // The kernel's own facility is 0; what programs write has another one, whatever they claim (`devkmsg_write`).
        if priority.is_none_or(|priority| priority >> 3 != 0) {
            return;
        }
        match Line::of(text.lines().next().unwrap_or_default()) {
            Some(Line::TableFull) => {
                self.signs.table_full += 1;
                self.last_full_us = logged_us.or(self.last_full_us);
            }
            Some(Line::ExpectationTableFull) => self.signs.expectation_table_full += 1,
            Some(Line::Suppressed(lines)) => {
                self.signs.suppressed = self.signs.suppressed.saturating_add(lines);
            }
            None => {}
        }
    }

    fn signs(self, now_us: u64) -> LogSigns {
        let seconds_ago = |then: u64| now_us.saturating_sub(then) / 1_000_000;
        LogSigns {
            last_full_s_ago: self.last_full_us.map(seconds_ago),
            covers_s: self.first_us.map(seconds_ago),
            is_known: true,
            ..self.signs
        }
    }
}

/// A line that means something here.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// `__nf_conntrack_alloc`, net/netfilter/nf_conntrack_core.c: "table full, dropping packet", since 6.17 "table full in
    /// netns N, dropping packet" elsewhere than in the first namespace, in Linux 2.6 "ip_conntrack: table full, …".
    TableFull,
    /// `nf_ct_expect_related_report`, net/netfilter/nf_conntrack_expect.c.
    ExpectationTableFull,
    /// `___ratelimit`, lib/ratelimit.c: so many lines of all network code were not logged.
    Suppressed(u64),
}

impl Line {
    fn of(text: &str) -> Option<Self> {
        if let Some(suppressed) = text.strip_prefix("net_ratelimit: ") {
            let lines = suppressed.strip_suffix(" callbacks suppressed")?.parse().ok()?;
            return Some(Self::Suppressed(lines));
        }
        // The prefix is doubled where both the message and `pr_fmt` have it.
        let prefixes = ["nf_conntrack: ", "ip_conntrack: "];
        let mut message = text;
        while let Some(rest) = prefixes.iter().find_map(|prefix| message.strip_prefix(prefix)) {
            message = rest;
        }
        if message.len() == text.len() {
            None
        } else if message.starts_with("expectation table full") {
            Some(Self::ExpectationTableFull)
        } else {
            (message.starts_with("table full") && message.contains("dropping packet"))
                .then_some(Self::TableFull)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signs(records: &[&str]) -> LogSigns {
        let mut reading = Reading::default();
        for record in records {
            reading.take(record);
        }
        reading.signs(100_000_000)
    }

    #[test]
    fn every_wording_is_counted_and_so_is_what_was_suppressed() {
        let signs = signs(&[
            "6,0,1000000,-;Linux version 6.12\n",
            "4,812,50000000,-;nf_conntrack: nf_conntrack: table full, dropping packet\n SUBSYSTEM=x\n",
            "4,813,60000000,-,caller=T12;nf_conntrack: nf_conntrack: table full in netns 4026532240, dropping packet\n",
            "4,814,60500000,-;ip_conntrack: table full, dropping packet.\n",
            "4,815,61000000,-;net_ratelimit: 1234 callbacks suppressed\n",
            "4,816,62000000,-;net_ratelimit: 6 callbacks suppressed\n",
            "4,817,63000000,-;nf_conntrack: nf_conntrack: expectation table full\n",
        ]);
        let expected = LogSigns {
            table_full: 3,
            expectation_table_full: 1,
            suppressed: 1240,
            last_full_s_ago: Some(39),
            covers_s: Some(99),
            is_known: true,
        };
        assert_eq!(signs, expected);
    }

    #[test]
    fn what_programs_wrote_and_other_lines_are_no_sign() {
        let signs = signs(&[
            "12,1,5,-;nf_conntrack: table full, dropping packet\n",
            "4,2,5,-;table full, dropping packet\n",
            "4,3,5,-;nf_conntrack: automatic helper assignment is deprecated\n",
            "4,4,5,-;net_ratelimit: many callbacks suppressed\n",
            "4,5,5,-;other_ratelimit: 7 callbacks suppressed\n",
            "nonsense",
            ";",
        ]);
        let nothing = LogSigns { covers_s: Some(99), is_known: true, ..LogSigns::default() };
        assert_eq!(signs, nothing);
    }

    proptest! {
        #[test]
        fn any_record_gives_a_result(record in "([0-9,-]{0,20};)?(nf_conntrack: |net_ratelimit: |table full){0,4}\\PC*") {
            let _ = signs(&[&record]);
        }
    }

    #[test]
    fn a_line_from_the_future_is_of_now() {
        let signs = signs(&["4,1,200000000,-;nf_conntrack: table full, dropping packet"]);
        assert_eq!(signs.last_full_s_ago, Some(0));
    }
}
