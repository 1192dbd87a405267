//! Counting entries that come and go by ctnetlink's events, as long as there are few: each makes its connection
//! dearer, and above some rate they cost more than they tell.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    clock,
    conntrack::{
        follow::{Event, EventSocket},
        socket::ConntrackSocketError,
    },
    host::namespace::NetworkNamespace,
    model::{
        aggregator::Aggregator, event, loss::Hop, observation::Observation, protocol, trace::Flow,
    },
    probe::error::sentence,
};

/// Above this rate events are given up: they add 120 % to the cost of a connection.
pub(super) const EVENTS_PER_S_MAX: u64 = 5_000;
/// Events are taken so often, whatever the interval between snapshots: the socket has room for what comes
/// meanwhile, and a flood is noticed soon.
const TAKE_INTERVAL: Duration = Duration::from_millis(100);

/// Follows the events of one namespace.
#[derive(Debug)]
pub(super) struct Following {
    netns: u32,
    socket: EventSocket,
    next: Instant,
    second: Second,
}

impl Following {
    /// Begins; events wait in `buffer_bytes`.
    ///
    /// # Errors
    ///
    /// See [`ConntrackSocketError`].
    pub(super) fn open_in(
        namespace: &NetworkNamespace,
        buffer_bytes: usize,
    ) -> Result<Self, ConntrackSocketError> {
        let now = Instant::now();
        Ok(Self {
            netns: namespace.inode(),
            socket: EventSocket::open_in(namespace, buffer_bytes)?,
            next: now + TAKE_INTERVAL,
            second: Second { began: now, events: 0 },
        })
    }

    /// When events should be taken again.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// Hands on what has arrived.
    ///
    /// # Errors
    ///
    /// Why the events should be given up, as the end of a sentence.
    pub(super) fn take(&mut self, aggregator: &mut Aggregator) -> Result<(), String> {
        let netns = self.netns;
        loop {
            let received = self
                .socket
                .receive(|received| match received {
                    Event::New(entry) => {
                        aggregator.observe(Observation::Began(entry.original.source_key(netns)));
                    }
                    Event::Ended(entry) => {
                        let flow = entry.original.flow(netns);
                        aggregator.observe(Observation::Ended(flow.source));
                        aggregator.observe(Observation::Event(ended(flow)));
                    }
                })
                .map_err(|error| sentence(&error))?;
            for (hop, lost) in [
                (Hop::NetlinkOverruns, received.overruns),
                (Hop::DecodeErrors, received.decode_errors),
            ] {
                if lost > 0 {
                    aggregator.observe(Observation::Lost(hop, lost));
                }
            }
            let now = Instant::now();
            if received.overruns > 0 {
                return Err("the kernel could not deliver all of them".to_owned());
            }
            if self.second.has_too_many(received.events, now) {
                return Err(format!("there were more than {EVENTS_PER_S_MAX} of them in a second"));
            }
            if received.drained {
                self.next = now + TAKE_INTERVAL;
                return Ok(());
            }
        }
    }
}

/// The end of an entry, of which ctnetlink does not say why.
fn ended(flow: Flow) -> event::Event {
    let Flow { source, destination, source_port, destination_port } = flow;
    let has_ports = protocol::has_ports(source.protocol);
    event::Event {
        source_port: has_ports.then_some(source_port),
        destination: Some(destination),
        destination_port: has_ports.then_some(destination_port),
        ..event::Event::unseen(event::Kind::Ended, source, 1, clock::now().wall_ns)
    }
}

/// The events of the second that is running.
#[derive(Debug)]
struct Second {
    began: Instant,
    events: u64,
}

impl Second {
    /// Takes in `events` that have come by `now`; they count for the second in which they are seen.
    fn has_too_many(&mut self, events: u64, now: Instant) -> bool {
        if now.saturating_duration_since(self.began) >= Duration::from_secs(1) {
            *self = Self { began: now, events: 0 };
        }
        self.events += events;
        self.events > EVENTS_PER_S_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a steady rate is too much, looked at every 100 ms for 10 s.
    fn gives_up_at(events_per_s: u64) -> bool {
        let began = Instant::now();
        let mut second = Second { began, events: 0 };
        (1..=100).any(|look| second.has_too_many(events_per_s / 10, began + look * TAKE_INTERVAL))
    }

    #[tokio::test]
    async fn a_steady_rate_is_judged_by_the_second() {
        assert!(!gives_up_at(0));
        assert!(!gives_up_at(EVENTS_PER_S_MAX));
        assert!(gives_up_at(EVENTS_PER_S_MAX + 100));
    }

    #[tokio::test]
    async fn what_came_long_ago_does_not_count() {
        let began = Instant::now();
        let mut second = Second { began, events: 0 };
        assert!(!second.has_too_many(EVENTS_PER_S_MAX, began));
        assert!(!second.has_too_many(EVENTS_PER_S_MAX, began + Duration::from_secs(1)));
        assert!(second.has_too_many(1, began + Duration::from_millis(1999)));
    }
}
