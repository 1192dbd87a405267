//! Events as text, a line each, in the manner of 'conntrack -E', and what was told of them.

use std::fmt::Write as _;

use super::json::{protocol_of_event, time};
use crate::model::{
    event::{Block, By, Event, Kind},
    protocol, source,
    told::{Numbers, Told},
};

/// Whether a terminal shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// It does.
    Some,
    /// It does not, or it is none.
    None,
}

/// As [`text`], with the namespace that it happened in.
pub fn text_in(event: &Event, netns_name: Option<&str>, colours: Colours) -> String {
    let line = text(event, colours);
    format!("{} netns={} ({})\n", line.trim_end(), event.netns, netns_name.unwrap_or("unknown"))
}

/// One line for an event, with its end.
pub fn text(event: &Event, colours: Colours) -> String {
    let kind = event.kind.kind();
    let label = format!("{:>15}", format!("[{}]", kind.name().to_uppercase()));
    let label = match (colours, colour(kind)) {
        (Colours::Some, Some(colour)) => format!("\x1b[{colour}m{label}\x1b[0m"),
        _ => label,
    };
    let mut line = format!(
        "{} {label} {:<8} {:<3} src={}",
        time(event.wall_ns),
        protocol_of_event(event),
        if kind == Kind::Blocked { "-".to_owned() } else { event.protocol.to_string() },
        source::text(&event.source)
    );
    // Writing to a string cannot fail.
    let mut known = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(line, " {name}={value}");
        }
    };
    known("dst", event.destination.map(|destination| destination.to_string()));
    known("sport", event.source_port.map(|port| port.to_string()));
    known("dport", event.destination_port.map(|port| port.to_string()));
    if let Some(reason) = event.kind.reason() {
        let _ = write!(line, " [{}]", reason.replace('_', " "));
    }
    match &event.by {
        Some(By::Requester { source, protocol }) => {
            let _ = write!(line, " requester={source} ({})", protocol::name(*protocol));
        }
        // A process may call itself anything.
        Some(By::Process { name, id }) => {
            let _ = write!(line, " process={name:?} pid={id}");
        }
        None => {}
    }
    if let Some(block) = &event.block {
        line += &of_block(block);
    }
    if event.suppressed > 0 {
        let _ = write!(line, " +{} suppressed", event.suppressed);
    }
    line + "\n"
}

fn of_block(block: &Block) -> String {
    let Block { by, why, until_wall_ns, entries_max, dropped_packets } = block;
    let parts = [
        entries_max.map(|entries| format!(" entries_max={entries}")),
        by.as_ref().map(|by| format!(" by={by:?}")),
        why.as_ref().map(|why| format!(" why={why:?}")),
        until_wall_ns.map(|until| format!(" until={}", time(until))),
        dropped_packets.map(|packets| format!(" dropped_packets={packets}")),
    ];
    parts.into_iter().flatten().collect()
}

/// The number of a terminal's colour (ECMA-48, SGR).
fn colour(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Refused => Some(31),
        Kind::Evicted => Some(33),
        Kind::InsertFailed => Some(35),
        Kind::Ended => None,
        Kind::Blocked => Some(36),
    }
}

/// What was told, as a sentence.
pub fn told(told: &Told) -> String {
    let of_kind = |kind: Kind| {
        let Numbers { events, suppressed, lost } = told.of(kind)?;
        let mut text = format!("{} {events}", kind.name());
        if suppressed > 0 {
            let _ = write!(text, " and {suppressed} suppressed");
        }
        if lost > 0 {
            let _ = write!(text, " and {lost} lost as the ring buffer was full (ring_full)");
        }
        Some(text)
    };
    let mut parts: Vec<String> = Kind::ALL.into_iter().filter_map(of_kind).collect();
    if told.events_dropped > 0 {
        parts.push(format!("{} were too many at once (events_dropped)", told.events_dropped));
    }
    if told.port_unknown > 0 {
        parts.push(format!(
            "{} not shown, as they stand for packets whose port is not known",
            told.port_unknown
        ));
    }
    format!("events so far: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::event::{EventKind, Kinds},
        output::sample,
    };

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(
            text(&sample::event(), Colours::None),
            "2026-11-23T14:00:00.000Z       [REFUSED] udp      17  src=10.0.1.2 dst=192.0.2.1 sport=4000 dport=53 [table full] +7 suppressed\n"
        );
    }

    #[test]
    fn where_there_are_several_namespaces_each_is_named() {
        let line = text_in(&sample::event(), Some("gateway"), Colours::None);
        assert!(line.ends_with(" +7 suppressed netns=1 (gateway)\n"), "{line}");
    }

    #[test]
    fn it_says_for_whom_and_by_whom() {
        let of = |kind, by| {
            let event = Event { kind, by: Some(by), suppressed: 0, ..sample::event() };
            text(&event, Colours::None)
        };
        let requester = By::Requester { source: "10.0.1.66".parse().unwrap(), protocol: 6 };
        let evicted = of(EventKind::EvictedTableFull, requester);
        assert!(
            evicted.ends_with("dport=53 [table full] requester=10.0.1.66 (tcp)\n"),
            "{evicted}"
        );
        let process = By::Process { name: "\x1b[31m".to_owned(), id: 7 };
        let deleted = of(EventKind::EndedDeleted, process);
        assert!(deleted.ends_with("[deleted] process=\"\\u{1b}[31m\" pid=7\n"), "{deleted}");
    }

    #[test]
    fn a_block_has_its_note_and_no_protocol() {
        let block = Block {
            by: Some("root".to_owned()),
            why: Some("it floods".to_owned()),
            until_wall_ns: Some(1_795_442_400_000_000_000),
            entries_max: None,
            dropped_packets: Some(4),
        };
        let source = sample::event().source;
        let event = Event { block: Some(block), ..Event::unseen(Kind::Blocked, source, 1, 0) };
        assert_eq!(
            text(&event, Colours::None),
            "1970-01-01T00:00:00.000Z       [BLOCKED] any      -   src=10.0.1.2 [blocked] by=\"root\" why=\"it floods\" until=2026-11-23T14:00:00.000Z dropped_packets=4\n"
        );
    }

    #[test]
    fn colours_are_only_around_the_kind() {
        let line = text(&sample::event(), Colours::Some);
        assert!(line.contains("\x1b[31m      [REFUSED]\x1b[0m udp"), "{line:?}");
        let ended = Event { kind: EventKind::EndedClosed, ..sample::event() };
        assert!(!text(&ended, Colours::Some).contains('\x1b'));
    }

    #[test]
    fn what_was_told_is_a_sentence() {
        let mut told = Told::new(1, Kinds::of(&[Kind::Refused, Kind::Blocked]));
        told.follow(&sample::snapshot());
        told.count(&sample::event());
        assert_eq!(
            super::told(&told),
            "events so far: refused 1 and 7 suppressed and 2 lost as the ring buffer was full (ring_full), blocked 0"
        );
    }
}
