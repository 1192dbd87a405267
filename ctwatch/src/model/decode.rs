//! From the bytes of the ring buffer to what happened. Any bytes are an answer; none is a panic.

use ctwatch_common::{
    event::{self, EventRecord, KIND_BEGAN, KIND_ENDED},
    source::SourceKey,
};
use zerocopy::FromBytes;

use super::{
    event::{By, Event, EventKind},
    moment::Moment,
    protocol, source,
    trace::Flow,
};

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Something to tell the user.
    Event(Event),
    /// An entry began, while that is traced.
    Began(Flow),
    /// An entry ended, while that is traced.
    Ended(Flow),
}

/// Why bytes were not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record has another length than this program's kernel side writes.
    #[error("a record of {0} bytes where {expected} were expected", expected = ctwatch_common::event::EVENT_BYTES)]
    Length(usize),
    /// The kind is none that this program knows.
    #[error("an event of the unknown kind {0}")]
    Kind(u8),
    /// The address family is neither IPv4 nor IPv6.
    #[error("an event of the unknown address family {0}")]
    Family(u16),
}

/// Decodes one record; `now` relates the kernel's clock to the wall's.
///
/// # Errors
///
/// Says what is wrong with the bytes; the record is to be counted as a decode error and passed over.
pub fn decode(bytes: &[u8], now: Moment) -> Result<Record, DecodeError> {
    let record =
        EventRecord::read_from_bytes(bytes).map_err(|_| DecodeError::Length(bytes.len()))?;
    let family = DecodeError::Family(record.family);
    let source = SourceKey::of_address(record.netns, record.family, record.protocol, record.source)
        .ok_or(family)?;
    let destination = source::address(record.family, &record.destination).ok_or(family)?;
    let EventRecord { source_port, destination_port, .. } = record;
    let flow = Flow { source, destination, source_port, destination_port };
    let kind = match record.kind {
        KIND_BEGAN => return Ok(Record::Began(flow)),
        KIND_ENDED => return Ok(Record::Ended(flow)),
        kind => kind_of(kind).ok_or(DecodeError::Kind(kind))?,
    };
    let ports = protocol::has_ports(record.protocol);
    Ok(Record::Event(Event {
        wall_ns: now.wall_of(record.time_ns),
        netns: record.netns,
        kind,
        source,
        protocol: record.protocol,
        source_port: ports.then_some(source_port),
        destination: Some(destination),
        destination_port: ports.then_some(destination_port),
        suppressed: 0,
        by: by(&record),
        block: None,
    }))
}

fn kind_of(kind: u8) -> Option<EventKind> {
    Some(match kind {
        event::KIND_REFUSED_TABLE_FULL => EventKind::RefusedTableFull,
        event::KIND_EVICTED_FOR_PACKET => EventKind::EvictedTableFull,
        event::KIND_EVICTED_BY_GC => EventKind::EvictedNearlyFull,
        event::KIND_INSERT_CLASH => EventKind::InsertFailedClash,
        event::KIND_INSERT_CHAIN_TOO_LONG => EventKind::InsertFailedChainTooLong,
        event::KIND_INSERT_DELETED => EventKind::InsertFailedDeleted,
        event::KIND_END_UNCONFIRMED => EventKind::EndedUnconfirmed,
        event::KIND_END_TIMED_OUT => EventKind::EndedTimedOut,
        event::KIND_END_DELETED => EventKind::EndedDeleted,
        event::KIND_END_CLOSED => EventKind::EndedClosed,
        _ => return None,
    })
}

/// For whom or by whom, as far as the record says.
fn by(record: &EventRecord) -> Option<By> {
    let EventRecord { by, by_process, by_family, by_protocol, .. } = *record;
    if let Some(source) = source::address(by_family, &by) {
        return Some(By::Requester { source, protocol: by_protocol });
    }
    let name = by.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    (!name.is_empty()).then_some(By::Process { name, id: by_process })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    const NOW: Moment = Moment { monotonic_ns: 1_000, wall_ns: 5_000 };

    #[test]
    fn an_eviction_says_for_whom_and_a_deletion_by_whom() {
        let mut evicted = EventRecord {
            kind: event::KIND_EVICTED_FOR_PACKET,
            by_family: 2,
            by_protocol: 6,
            ..record()
        };
        evicted.by[..4].copy_from_slice(&[10, 0, 1, 66]);
        let mut deleted = EventRecord { kind: event::KIND_END_DELETED, by_process: 7, ..record() };
        deleted.by[..9].copy_from_slice(b"conntrack");
        let decoded = [evicted, deleted].map(|record| match decode(record.as_bytes(), NOW) {
            Ok(Record::Event(event)) => (event.kind, event.by),
            other => panic!("{other:?}"),
        });
        let requester = By::Requester { source: "10.0.1.66".parse().unwrap(), protocol: 6 };
        let process = By::Process { name: "conntrack".to_owned(), id: 7 };
        assert_eq!(
            decoded,
            [
                (EventKind::EvictedTableFull, Some(requester)),
                (EventKind::EndedDeleted, Some(process))
            ]
        );
    }

    fn record() -> EventRecord {
        let mut record = EventRecord {
            time_ns: 400,
            netns: 77,
            source_port: 4000,
            destination_port: 53,
            family: 2,
            protocol: 17,
            kind: event::KIND_REFUSED_TABLE_FULL,
            ..EventRecord::default()
        };
        record.source[..4].copy_from_slice(&[10, 0, 1, 2]);
        record.destination[..4].copy_from_slice(&[192, 0, 2, 1]);
        record
    }

    #[test]
    fn a_refusal_is_decoded_whole() {
        let decoded = decode(record().as_bytes(), NOW).unwrap();
        assert_eq!(
            decoded,
            Record::Event(Event {
                wall_ns: 4_400,
                netns: 77,
                kind: EventKind::RefusedTableFull,
                source: source::key(77, "10.0.1.2".parse().unwrap(), 17),
                protocol: 17,
                source_port: Some(4000),
                destination: Some("192.0.2.1".parse().unwrap()),
                destination_port: Some(53),
                suppressed: 0,
                by: None,
                block: None,
            })
        );
    }

    #[test]
    fn a_traced_entry_is_a_flow() {
        let began = EventRecord { kind: KIND_BEGAN, ..record() };
        let flow = Flow {
            source: source::key(77, "10.0.1.2".parse().unwrap(), 17),
            destination: "192.0.2.1".parse().unwrap(),
            source_port: 4000,
            destination_port: 53,
        };
        assert_eq!(decode(began.as_bytes(), NOW), Ok(Record::Began(flow)));
        let ended = EventRecord { kind: KIND_ENDED, ..record() };
        assert_eq!(decode(ended.as_bytes(), NOW), Ok(Record::Ended(flow)));
    }

    #[test]
    fn what_is_not_an_event_is_an_error() {
        let bad_kind = EventRecord { kind: 200, ..record() };
        let bad_family = EventRecord { family: 7, ..record() };
        assert_eq!(decode(bad_kind.as_bytes(), NOW), Err(DecodeError::Kind(200)));
        assert_eq!(decode(bad_family.as_bytes(), NOW), Err(DecodeError::Family(7)));
        assert_eq!(decode(&[0; 12], NOW), Err(DecodeError::Length(12)));
    }

    #[test]
    fn an_icmp_event_has_no_ports() {
        let icmp = EventRecord { protocol: 1, ..record() };
        let Record::Event(event) = decode(icmp.as_bytes(), NOW).unwrap() else {
            panic!("no event")
        };
        assert_eq!((event.source_port, event.destination_port), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..128), monotonic_ns: u64) {
            let _ = decode(&bytes, Moment { monotonic_ns, wall_ns: 0 });
        }

        #[test]
        fn every_record_of_a_known_kind_and_family_is_an_event(
            start in proptest::collection::vec(any::<u8>(), 55),
            kind in event::KIND_EVICTED_FOR_PACKET..=event::KIND_END_CLOSED,
            rest in proptest::collection::vec(any::<u8>(), 24),
            v4: bool,
        ) {
            let mut bytes = [start, vec![kind], rest].concat();
            let family = if v4 { 2_u16 } else { 10 };
            bytes[52..54].copy_from_slice(&family.to_ne_bytes());
            let Record::Event(event) = decode(&bytes, NOW).unwrap() else { panic!("no event") };
            prop_assert_eq!(event.source.family, family);
            prop_assert_eq!(event.destination.map(|address| address.is_ipv4()), Some(v4));
        }
    }
}
