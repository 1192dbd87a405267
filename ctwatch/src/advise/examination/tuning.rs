//! How conntrack is set, against its defaults and what the RFCs ask of a NAT.

use super::{Sign, Subject};
use crate::advise::{
    advice::{Datum, Severity},
    settings::PREFIX,
    timeouts::TIMEOUTS,
    wording::duration,
};

/// Timeouts that are not the kernel's defaults, or below what the RFCs ask of a NAT.
pub(super) fn timeouts(subject: &Subject) -> Vec<Sign> {
    let Some(settings) = subject.settings else { return Vec::new() };
    let is_nat = subject.facts.translates_sources;
    let mut signs = Vec::new();
    let mut defaults = 0;
    for timeout in TIMEOUTS {
        let Some(now) = settings.timeout_s(timeout.name) else { continue };
        let floor = timeout.nat_floor_s.filter(|floor| now < *floor);
        if now == timeout.default_s && floor.is_none() {
            defaults += 1;
            continue;
        }
        let than = if now > timeout.default_s { "longer" } else { "shorter" };
        let mut sentence = format!(
            "{} is {now} s ({}), {than} than the kernel's {} s",
            timeout.name,
            duration(f64::from(now)),
            timeout.default_s
        );
        let mut severity = Severity::Info;
        if now > timeout.default_s {
            sentence.push_str(": entries that nobody uses stay for longer");
            severity = Severity::Warning;
        } else if now < timeout.sensible_s {
            severity = Severity::Warning;
        }
        if now < timeout.default_s && !timeout.risk.is_empty() {
            sentence.push_str(&format!(": {}", timeout.risk));
        }
        if let Some(floor) = floor {
            match is_nat {
                Some(true) => {
                    severity = Severity::Warning;
                    sentence.push_str(&format!(
                        "; a NAT, which this is, must not go below {floor} s ({})",
                        timeout.floor_source
                    ));
                }
                _ => sentence.push_str(&format!(
                    "; if this translates, it must not go below {floor} s ({})",
                    timeout.floor_source
                )),
            }
        }
        let key = format!("{PREFIX}{}", timeout.name);
        signs.push(Sign::new(
            severity,
            sentence,
            vec![
                Datum::count("now_s", now.into(), key),
                Datum::count(
                    "default_s",
                    timeout.default_s.into(),
                    "net/netfilter/nf_conntrack_proto_*.c",
                ),
            ],
        ));
    }
    if defaults > 0 {
        signs.push(Sign::info(format!(
            "{defaults} of {} timeouts are the kernel's defaults; a new namespace begins with these, whatever the machine is set to",
            TIMEOUTS.len()
        )));
    }
    signs
}

/// A switch: what each of its values means.
struct Switch {
    name: &'static str,
    /// A value, how much it matters, and what it does.
    values: &'static [(i64, Severity, &'static str)],
}

const SWITCHES: &[Switch] = &[
    Switch {
        name: "tcp_loose",
        values: &[
            (
                0,
                Severity::Info,
                "a TCP connection is tracked only if its beginning was seen: after a flush, a restart or a failover all that are open break",
            ),
            (
                1,
                Severity::Info,
                "a TCP connection is picked up in its middle, so a flood of ACKs makes entries of 300 s; SYNPROXY needs 0",
            ),
        ],
    },
    Switch {
        name: "acct",
        values: &[(
            1,
            Severity::Info,
            "packets and bytes of each connection are counted: 128 B more for each new entry, and two atomic additions for each packet",
        )],
    },
    Switch {
        name: "timestamp",
        values: &[(
            1,
            Severity::Info,
            "each new entry keeps when it began and has extensions of 128 B for it",
        )],
    },
    Switch {
        name: "events",
        values: &[
            (0, Severity::Info, "no events are sent: conntrackd and 'conntrack -E' see nothing"),
            (
                1,
                Severity::Info,
                "events are prepared whether anybody listens or not: 128 B more for each new entry; 2 prepares them only then (since Linux 5.19)",
            ),
        ],
    },
    Switch {
        name: "checksum",
        values: &[(
            0,
            Severity::Info,
            "checksums are not verified: packets that the receiver will discard make entries",
        )],
    },
    Switch {
        name: "tcp_be_liberal",
        values: &[(
            1,
            Severity::Info,
            "packets outside the TCP window are let through as of their connection",
        )],
    },
    Switch {
        name: "tcp_ignore_invalid_rst",
        values: &[(
            1,
            Severity::Info,
            "resets outside the TCP window end no entry, so it stays until its timeout",
        )],
    },
    Switch {
        name: "log_invalid",
        values: &[(
            255,
            Severity::Warning,
            "each invalid packet is logged: a flood of them fills the log",
        )],
    },
    Switch {
        name: "helper",
        values: &[(
            1,
            Severity::Warning,
            "helpers attach by port alone: whoever sends to port 21 or 5060 can open ports; name helpers in rules instead",
        )],
    },
];

/// Switches of which a person should know.
pub(super) fn switches(subject: &Subject) -> Vec<Sign> {
    let Some(settings) = subject.settings else { return Vec::new() };
    let signs = SWITCHES.iter().filter_map(|switch| {
        let key = format!("{PREFIX}{}", switch.name);
        let now = settings.get(&key)?;
        let (_, severity, meaning) = switch.values.iter().find(|(value, ..)| *value == now)?;
        let sentence = format!("{} = {now}: {meaning}", switch.name);
        let datum = Datum::text("value", now.to_string(), key);
        Some(Sign::new(*severity, sentence, vec![datum]))
    });
    signs.collect()
}
