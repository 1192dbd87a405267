//! Reads conntrack's per-CPU statistics out of the text of `/proc/net/stat/nf_conntrack` and adds them up
//! so that the totals never go back; pure, no file is touched here.

use crate::model::snapshot::KernelStatistics;

/// Why the text is not what the kernel writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// There is no heading, or none of its names is known.
    #[error("the conntrack statistics have no known column: '{heading}'")]
    NoKnownColumn {
        /// The first line.
        heading: String,
    },
    /// A number is missing or is none.
    #[error("the conntrack statistics have no number under '{column}' on line {line}")]
    BadNumber {
        /// The name of the column.
        column: &'static str,
        /// Counted from 1, the heading included.
        line: usize,
    },
}

/// The counters of one CPU, in the order of [`COLUMNS`]; each is a `u32` in the kernel, which wraps.
pub type CpuStatistics = [Option<u32>; COLUMNS.len()];

/// One counter: under which name the kernel prints it, and where it is kept here.
#[derive(Debug)]
pub struct Column {
    /// The heading in `/proc/net/stat/nf_conntrack` (`ct_cpu_seq_show`, net/netfilter/nf_conntrack_standalone.c).
    pub heading: &'static str,
    slot: fn(&mut KernelStatistics) -> &mut Option<u64>,
}

/// The counters that are read. The others are constant 0 (`new`, `ignore`, `delete`, `searched`), and
/// `entries` is the count of the whole namespace, repeated on every line.
pub const COLUMNS: [Column; 13] = [
    Column { heading: "found", slot: |s| &mut s.found },
    Column { heading: "invalid", slot: |s| &mut s.invalid },
    Column { heading: "insert", slot: |s| &mut s.insert },
    Column { heading: "insert_failed", slot: |s| &mut s.insert_failed },
    Column { heading: "drop", slot: |s| &mut s.drop },
    Column { heading: "early_drop", slot: |s| &mut s.early_drop },
    Column { heading: "icmp_error", slot: |s| &mut s.icmp_error },
    Column { heading: "expect_new", slot: |s| &mut s.expect_new },
    Column { heading: "expect_create", slot: |s| &mut s.expect_create },
    Column { heading: "expect_delete", slot: |s| &mut s.expect_delete },
    Column { heading: "search_restart", slot: |s| &mut s.search_restart },
    Column { heading: "clashres", slot: |s| &mut s.clash_resolve },
    Column { heading: "chainlength", slot: |s| &mut s.chaintoolong },
];

/// Parses the text, one value per possible CPU, in the kernel's order.
///
/// Columns are found by name: their order and number differ between kernels.
///
/// # Errors
///
/// The heading has no known name, or a known column has no hexadecimal `u32`.
pub fn parse(text: &str) -> Result<Vec<CpuStatistics>, StatisticsError> {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let places: [Option<usize>; COLUMNS.len()] = COLUMNS
        .each_ref()
        .map(|column| heading.split_whitespace().position(|name| name == column.heading));
    if places.iter().all(Option::is_none) {
        return Err(StatisticsError::NoKnownColumn { heading: heading.to_owned() });
    }
    let mut cpus = Vec::new();
    for (index, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let numbers: Vec<&str> = line.split_whitespace().collect();
        let mut cpu = CpuStatistics::default();
        for ((value, place), column) in cpu.iter_mut().zip(places).zip(&COLUMNS) {
            let Some(place) = place else { continue };
            let number = numbers.get(place).and_then(|text| u32::from_str_radix(text, 16).ok());
            *value =
                Some(number.ok_or(StatisticsError::BadNumber {
                    column: column.heading,
                    line: index + 2,
                })?);
        }
        cpus.push(cpu);
    }
    Ok(cpus)
}

/// The counters of one CPU by their names.
pub fn of_cpu(cpu: &CpuStatistics) -> KernelStatistics {
    StatisticsAccumulator::default().add(std::slice::from_ref(cpu))
}

/// Adds up readings of the per-CPU counters. The first reading counts as a whole, so that the totals are
/// those of `conntrack -S`; from then on only what was added counts, across the wrap of each `u32`.
#[derive(Clone, Debug, Default)]
pub struct StatisticsAccumulator {
    last: Vec<CpuStatistics>,
    totals: KernelStatistics,
}

impl StatisticsAccumulator {
    /// Takes one reading and returns the totals.
    pub fn add(&mut self, cpus: &[CpuStatistics]) -> KernelStatistics {
        // The kernel lists all CPUs that are possible, so a line is always of the same CPU.
        for (index, cpu) in cpus.iter().enumerate() {
            let last = self.last.get(index).copied().unwrap_or_default();
            for ((value, last), column) in cpu.iter().zip(last).zip(&COLUMNS) {
                let Some(value) = value else { continue };
                let added = value.wrapping_sub(last.unwrap_or(0));
                let total = (column.slot)(&mut self.totals).get_or_insert(0);
                *total = total.saturating_add(u64::from(added));
            }
        }
        self.last = cpus.to_vec();
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Linux 6.18, two CPUs, with some numbers put in.
    const LINUX_6_18: &str = "\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
000186a0  00000001 00000002 00000000 00000003 00000000 00000000 00000004 00000005 00000006 00000007 00000008 00000009  0000000a 0000000b 0000000c 0000000d
000186a0  00000010 00000020 00000000 00000030 00000000 00000000 00000040 00000050 00000060 00000070 00000080 00000090  000000a0 000000b0 000000c0 000000d0
";
    /// The heading of Linux 5.4.
    const LINUX_5_4: &str = "\
entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
00000001  00000fff 00000002 00000000 00000003 00000eee 00000ddd 00000ccc 00000005 00000006 00000007 00000008 00000009  0000000a 0000000b 0000000c 0000000d
";

    fn totals(text: &str) -> KernelStatistics {
        StatisticsAccumulator::default().add(&parse(text).unwrap())
    }

    #[test]
    fn every_column_is_summed_over_the_cpus() {
        assert_eq!(
            totals(LINUX_6_18),
            KernelStatistics {
                found: Some(0x22),
                invalid: Some(0x33),
                insert: Some(0x55),
                insert_failed: Some(0x66),
                drop: Some(0x77),
                early_drop: Some(0x88),
                icmp_error: Some(0x99),
                expect_new: Some(0xaa),
                expect_create: Some(0xbb),
                expect_delete: Some(0xcc),
                search_restart: Some(0xdd),
                clash_resolve: Some(0x11),
                chaintoolong: Some(0x44),
            }
        );
    }

    #[test]
    fn what_an_old_kernel_lacks_is_none_and_its_own_columns_are_not_mistaken_for_it() {
        let old = totals(LINUX_5_4);
        assert_eq!((old.clash_resolve, old.chaintoolong), (None, None));
        assert_eq!((old.found, old.search_restart), (Some(2), Some(13)));
    }

    #[test]
    fn only_counters_count_as_use() {
        let entries_alone = "entries drop\n00000009 00000000\n";
        assert!(!totals(entries_alone).any());
        assert!(totals(LINUX_5_4).any());
    }

    #[test]
    fn each_cpu_wraps_for_itself() {
        let mut accumulator = StatisticsAccumulator::default();
        let drop = |cpus: &[u32]| {
            let rows: String = cpus.iter().map(|value| format!("{value:08x}\n")).collect();
            parse(&format!("drop\n{rows}")).unwrap()
        };
        assert_eq!(accumulator.add(&drop(&[0xffff_fff0, 5])).drop, Some(0xffff_fff5));
        assert_eq!(accumulator.add(&drop(&[0x10, 6])).drop, Some(0xffff_fff5 + 0x20 + 1));
    }

    #[test]
    fn what_is_no_statistics_is_refused_with_a_sentence() {
        assert_eq!(
            parse("").unwrap_err().to_string(),
            "the conntrack statistics have no known column: ''"
        );
        assert_eq!(
            parse("entries drop\n00000001\n").unwrap_err(),
            StatisticsError::BadNumber { column: "drop", line: 2 }
        );
    }

    proptest! {
        #[test]
        fn any_text_gives_a_result(text in "\\PC*") {
            let _ = parse(&text);
            let _ = parse(&format!("entries drop\n{text}"));
        }

        #[test]
        fn totals_never_go_back(readings in prop::collection::vec(any::<[u32; 3]>(), 1..20)) {
            let mut accumulator = StatisticsAccumulator::default();
            let mut last = 0;
            for reading in readings {
                let cpus = reading.map(|value| [Some(value); COLUMNS.len()]);
                let drop = accumulator.add(&cpus).drop.unwrap();
                prop_assert!(drop >= last);
                last = drop;
            }
        }
    }
}
