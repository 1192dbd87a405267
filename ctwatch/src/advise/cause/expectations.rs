//! The table of expectations: full, so that helpers drop what announces a connection.

use super::{Cause, Finding, Signs};
use crate::advise::{advice::Datum, settings::EXPECTATIONS};

/// They come and go within seconds, so at the moment of the look it may have been a few fewer than all.
const USED_UP: f64 = 0.95;

/// Whether no more fit. A table of connections that refuses is worse, and is told first.
pub(super) fn are_used_up(signs: &Signs<'_>) -> Option<Finding> {
    let limit = signs.case.settings.get(EXPECTATIONS).filter(|limit| *limit > 0)?;
    let held = signs.case.facts.expectations?;
    if signs.refused > 0 || (held as f64) < USED_UP * limit as f64 {
        return None;
    }
    let log = signs.case.facts.log;
    let mut evidence = vec![
        Datum::count("expectations", held, "/proc/net/nf_conntrack_expect"),
        Datum::count("expectations_max", limit.unsigned_abs(), EXPECTATIONS),
    ];
    if log.is_known {
        evidence.push(Datum::count(
            "log_lines",
            log.expectation_table_full,
            "the kernel's log, \"expectation table full\"",
        ));
    }
    let said = match log.expectation_table_full {
        0 => String::new(),
        lines => format!(" The log has said so {lines} times."),
    };
    Some(Finding {
        cause: Cause::Expectations,
        explanation: format!(
            "{held} of {limit} expectations are held: a helper (FTP, SIP, TFTP and the like) that wants another drops the packet \
             that announces the connection, so calls and transfers fail while the table has room.{said}"
        ),
        evidence,
    })
}
