//! Asks ctnetlink for the statistics of each CPU, for kernels that do not tell them in /proc.

use std::ops::ControlFlow;

use super::{
    attribute::{DecodeError, be32, for_each_attribute},
    dump::DumpSocket,
    message::{Content, Request},
    socket::ConntrackSocketError,
};
use crate::host::statistics::{COLUMNS, CpuStatistics};

/// `IPCTNL_MSG_CT_GET_STATS_CPU` of the conntrack subsystem.
const MESSAGE_STATISTICS_OF_CPU: u16 = 1 << 8 | 4;

/// `enum ctattr_stats_cpu` (include/uapi/linux/netfilter/nfnetlink_conntrack.h) and the name of the same
/// number in /proc.
const ATTRIBUTES: [(u16, &str); 10] = [
    (2, "found"),
    (4, "invalid"),
    (8, "insert"),
    (9, "insert_failed"),
    (10, "drop"),
    (11, "early_drop"),
    (12, "icmp_error"),
    (13, "search_restart"),
    (14, "clashres"),
    (15, "chainlength"),
];

impl DumpSocket {
    /// One reading of the statistics, to be added up like a reading of the file in /proc. The numbers of
    /// expectations are not told here.
    ///
    /// # Errors
    ///
    /// The kernel refused, or the answer could not be read.
    pub fn statistics(&mut self) -> Result<Vec<CpuStatistics>, ConntrackSocketError> {
        let mut cpus = Vec::new();
        let mut failed = None;
        self.ask(Request::Statistics, |content| {
            if let Content::Other(MESSAGE_STATISTICS_OF_CPU, attributes) = content {
                match cpu(attributes) {
                    Ok(cpu) => cpus.push(cpu),
                    Err(error) => failed = Some(error),
                }
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(cpus), |error| Err(ConntrackSocketError::Unreadable(error)))
    }
}

fn cpu(attributes: &[u8]) -> Result<CpuStatistics, DecodeError> {
    let mut cpu = CpuStatistics::default();
    for_each_attribute(attributes, |kind, value| {
        let heading = ATTRIBUTES.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name);
        for (slot, column) in cpu.iter_mut().zip(&COLUMNS) {
            if Some(column.heading) == heading {
                *slot = Some(be32(value)?);
            }
        }
        Ok(())
    })?;
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use crate::host::statistics::StatisticsAccumulator;

    #[test]
    fn the_numbers_of_a_cpu_are_those_of_the_file_in_proc() {
        let cpu = cpu(&samples::bytes(samples::STATISTICS)[20..]).unwrap();
        let totals = StatisticsAccumulator::default().add(&[cpu]);
        assert_eq!((totals.drop, totals.icmp_error, totals.found), (Some(0), Some(2), Some(0)));
        assert_eq!((totals.chaintoolong, totals.clash_resolve), (Some(0), Some(0)));
        assert_eq!(totals.expect_new, None);
    }

    #[test]
    fn every_number_belongs_to_a_known_column() {
        for (_, heading) in ATTRIBUTES {
            assert!(COLUMNS.iter().any(|column| column.heading == heading), "{heading}");
        }
    }
}
