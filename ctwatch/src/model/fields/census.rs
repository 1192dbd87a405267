//! The numbers of a walk of the table, of prefixes and of floods.

use super::{Field, Kind, Value, count, real};
use crate::model::{
    census::{
        Census, ZoneNumbers,
        destinations::DestinationNumbers,
        snat::{Holder, PoolNumbers},
        state::StateNumbers,
    },
    flood::{Flood, PrefixShare},
    prefix::Prefix,
    snapshot::{CensusNow, SourceNumbers},
};

/// Of a source: who rents the table.
pub const ENTRY_SECONDS: Field<SourceNumbers> = Field {
    name: "entry_seconds",
    unit: "entry-seconds",
    kind: Kind::Counter,
    help: "entries held times seconds held, since the start or the first dump of the table; from one reading an \
               interval, so an entry that came or went is off by half an interval at most, and one that did both \
               between two readings is not in it",
    value: |s| real(s.entry_seconds),
};
/// Of a source.
pub const ASSURED: Field<SourceNumbers> = Field {
    name: "assured",
    unit: "entries",
    kind: Kind::Gauge,
    help: "entries that the kernel does not evict to make room, at the last walk of the table (census.age_s ago); \
               null before the first",
    value: |s| count(s.assured),
};
/// Of a source.
pub const UNREPLIED: Field<SourceNumbers> = Field {
    name: "unreplied",
    unit: "entries",
    kind: Kind::Gauge,
    help: "entries that nobody had answered, at the last walk of the table (census.age_s ago); null before the first",
    value: |s| count(s.unreplied),
};

/// The walk itself.
pub const WALK: &[Field<CensusNow>] = &[Field {
    name: "age_s",
    unit: "seconds",
    kind: Kind::Gauge,
    help: "time since the walk was over",
    value: |c| Value::Real(c.age_s),
}];

/// What it counted over all entries.
pub const CENSUS: &[Field<Census>] = &[
    Field {
        name: "entries",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries that the walk met; expired ones are left out",
        value: |c| Value::Count(c.entries),
    },
    Field {
        name: "assured",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries that the kernel does not evict to make room",
        value: |c| Value::Count(c.assured),
    },
    Field {
        name: "unreplied",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries that nobody had answered",
        value: |c| Value::Count(c.unreplied),
    },
    Field {
        name: "destinations_not_counted",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries whose destination was not among the first 4096 met; each of those destinations has less than 1 in \
               200 entries, with a probability of 1 − 10⁻⁹",
        value: |c| Value::Count(c.destinations_not_counted),
    },
];

/// A state.
pub const STATE: &[Field<StateNumbers>] = &[Field {
    name: "entries",
    unit: "entries",
    kind: Kind::Gauge,
    help: "entries in this state",
    value: |s| Value::Count(s.entries),
}];

/// A zone.
pub const ZONE: &[Field<ZoneNumbers>] = &[
    Field {
        name: "zone",
        unit: "number",
        kind: Kind::Gauge,
        help: "the conntrack zone, 0 unless rules set one",
        value: |z| Value::Count(z.zone.into()),
    },
    Field {
        name: "entries",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries in this zone",
        value: |z| Value::Count(z.entries),
    },
];

/// A destination.
pub const DESTINATION: &[Field<DestinationNumbers>] = &[
    Field {
        name: "entries",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries to this destination",
        value: |d| Value::Count(d.entries),
    },
    Field {
        name: "sources",
        unit: "addresses",
        kind: Kind::Gauge,
        help: "different source addresses: exact up to 255, else an estimate with a standard error of 6 %",
        value: |d| Value::Count(d.sources),
    },
    Field {
        name: "unreplied",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries that nobody had answered",
        value: |d| Value::Count(d.unreplied),
    },
    Field {
        name: "half_open",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries whose sender has not shown to be there: unreplied, or TCP in SYN_SENT, SYN_RECV or SYN_SENT2",
        value: |d| Value::Count(d.half_open),
    },
];

/// A pool of ports.
pub const SNAT_POOL: &[Field<PoolNumbers>] = &[
    Field {
        name: "ports_used",
        unit: "ports",
        kind: Kind::Gauge,
        help: "source ports, or ICMP identifiers, that are taken towards this destination",
        value: |p| Value::Count(p.ports_used),
    },
    Field {
        name: "ports",
        unit: "ports",
        kind: Kind::Gauge,
        help: "source ports that there are: of 1-511, 600-1023 or 1024-65535, as the kernel keeps the class; a rule that \
               narrows them further shows in no entry",
        value: |p| Value::Count(p.pool.ports.into()),
    },
    Field {
        name: "utilization",
        unit: "ratio",
        kind: Kind::Gauge,
        help: "ports taken by ports that there are",
        value: |p| Value::Real(p.utilization),
    },
];

/// A source that holds ports of a pool.
pub const HOLDER: &[Field<Holder>] = &[Field {
    name: "ports_used",
    unit: "ports",
    kind: Kind::Gauge,
    help: "ports of the pool that this source holds",
    value: |h| Value::Count(h.ports_used),
}];

/// A prefix.
pub const PREFIX: &[Field<Prefix>] = &[
    Field {
        name: "entries",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries held now that no listed prefix inside this one has",
        value: |p| Value::Count(p.entries),
    },
    Field {
        name: "entries_total",
        unit: "entries",
        kind: Kind::Gauge,
        help: "all entries held now by addresses of this prefix",
        value: |p| Value::Count(p.entries_total),
    },
    Field {
        name: "sources",
        unit: "addresses",
        kind: Kind::Gauge,
        help: "addresses that hold 'entries'; where there was no room for addresses one for each of their prefixes",
        value: |p| Value::Count(p.sources),
    },
    Field {
        name: "new_per_s",
        unit: "entries per second",
        kind: Kind::Gauge,
        help: "entries made in the last interval by addresses that no listed prefix inside this one has",
        value: |p| Value::Real(p.new_per_s),
    },
];

/// A flood.
pub const FLOOD: &[Field<Flood>] = &[
    Field {
        name: "entries",
        unit: "entries",
        kind: Kind::Gauge,
        help: "entries to this destination at the last walk of the table (census.age_s ago); at least so many if it goes \
               to more than 4000 ports",
        value: |f| Value::Count(f.entries),
    },
    Field {
        name: "sources",
        unit: "addresses",
        kind: Kind::Gauge,
        help: "different source addresses, an estimate with a standard error of 6 %",
        value: |f| Value::Count(f.sources),
    },
    Field {
        name: "unreplied_share",
        unit: "ratio",
        kind: Kind::Gauge,
        help: "entries that nobody had answered by all of them",
        value: |f| Value::Real(f.unreplied_share),
    },
    Field {
        name: "half_open_share",
        unit: "ratio",
        kind: Kind::Gauge,
        help: "entries whose sender has not shown to be there by all of them: unreplied, or TCP in SYN_SENT, SYN_RECV or \
               SYN_SENT2",
        value: |f| Value::Real(f.half_open_share),
    },
];

/// A prefix with many sources of a flood.
pub const PREFIX_SHARE: &[Field<PrefixShare>] = &[Field {
    name: "share",
    unit: "ratio",
    kind: Kind::Gauge,
    help: "part of the flood's sources that lies in this prefix and in none listed inside it, by a sample of 256",
    value: |p| Value::Real(p.share),
}];
