//! The numbers of the agent itself.

use super::{Field, Kind, Value};
use crate::model::own::{Process, Recording};

/// Of its process, under the names that other exporters have them.
pub const PROCESS: &[Field<Process>] = &[
    Field {
        name: "cpu_s",
        unit: "seconds",
        kind: Kind::Counter,
        help: "processor time that ctwatch has taken; what its hooks take is not in it",
        value: |p| Value::Real(p.cpu_s),
    },
    Field {
        name: "resident_memory_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        help: "memory that ctwatch has now",
        value: |p| Value::Count(p.resident_memory_bytes),
    },
];

/// Of the recording that it writes.
pub const RECORDING: &[Field<Recording>] = &[
    Field {
        name: "active",
        unit: "1 or 0",
        kind: Kind::Gauge,
        help: "1 while the recording is written, 0 while it cannot be",
        value: |r| Value::Count(r.is_written.into()),
    },
    Field {
        name: "snapshots",
        unit: "snapshots",
        kind: Kind::Counter,
        help: "snapshots recorded since the start",
        value: |r| Value::Count(r.snapshots),
    },
    Field {
        name: "written_bytes",
        unit: "bytes",
        kind: Kind::Counter,
        help: "bytes written to the recording since the start",
        value: |r| Value::Count(r.written_bytes),
    },
    Field {
        name: "failures",
        unit: "times",
        kind: Kind::Counter,
        help: "times that the recording could not be begun or gone on with",
        value: |r| Value::Count(r.failures),
    },
    Field {
        name: "left_out",
        unit: "snapshots",
        kind: Kind::Counter,
        help: "snapshots that are not in the recording, as it could not be written or the disk was too slow",
        value: |r| Value::Count(r.left_out),
    },
];
