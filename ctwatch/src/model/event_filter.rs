//! Which events are told.

use ipnet::IpNet;

use super::{
    event::{By, Event, Kind, Kinds},
    source,
};

/// What somebody wants to know of.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// These kinds.
    pub kinds: Kinds,
    /// These sources: it happened to them, or for a packet of theirs.
    pub source: Option<IpNet>,
    /// This protocol. Blocks and caps are of all protocols.
    pub protocol: Option<u8>,
    /// This port, of the source or of the destination.
    pub port: Option<u16>,
}

/// What a filter says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is told.
    Told,
    /// It is not.
    Other,
    /// It is not, as it stands for what is known of no port.
    PortUnknown,
}

impl Filter {
    /// Everything of these kinds.
    pub fn of(kinds: Kinds) -> Self {
        Self { kinds, source: None, protocol: None, port: None }
    }

    /// Whether an event is told.
    pub fn judge(&self, event: &Event) -> Verdict {
        let is_blocked = event.kind.kind() == Kind::Blocked;
        let is_of_protocol =
            is_blocked || self.protocol.is_none_or(|protocol| protocol == event.protocol);
        let is_of_source = self.source.is_none_or(|network| concerns(event, &network));
        if !self.kinds.has(event.kind.kind()) || !is_of_protocol || !is_of_source {
            return Verdict::Other;
        }
        match self.port {
            None => Verdict::Told,
            Some(_) if event.destination.is_none() && !is_blocked => Verdict::PortUnknown,
            port if event.source_port == port || event.destination_port == port => Verdict::Told,
            Some(_) => Verdict::Other,
        }
    }
}

/// Whether it happened to somebody in a network, or for somebody there. What happens to a network happens to all in it.
fn concerns(event: &Event, network: &IpNet) -> bool {
    let is_for = match &event.by {
        Some(By::Requester { source, .. }) => network.contains(source),
        Some(By::Process { .. }) | None => false,
    };
    let covers = || {
        let own = source::address(event.source.family, &event.source.address)
            .and_then(|address| IpNet::new(address, event.source.prefix_length).ok());
        event.kind.kind() == Kind::Blocked && own.is_some_and(|own| own.contains(network))
    };
    source::is_of(&event.source, network) || is_for || covers()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::event::EventKind, output::sample};

    /// A filter for all kinds that is changed.
    fn filter(change: impl FnOnce(&mut Filter)) -> Filter {
        let mut filter = Filter::of(Kinds::of(&Kind::ALL));
        change(&mut filter);
        filter
    }

    #[test]
    fn each_part_of_a_filter_has_to_fit() {
        let event = sample::event();
        let judge = |change: fn(&mut Filter)| filter(change).judge(&event);
        for fits in [
            |_: &mut Filter| {},
            |filter: &mut Filter| filter.source = Some("10.0.1.0/24".parse().unwrap()),
            |filter: &mut Filter| filter.protocol = Some(17),
            |filter: &mut Filter| filter.port = Some(4000),
            |filter: &mut Filter| filter.port = Some(53),
        ] {
            assert_eq!(judge(fits), Verdict::Told);
        }
        for other in [
            |filter: &mut Filter| filter.kinds = Kinds::of(&[Kind::Evicted]),
            |filter: &mut Filter| filter.source = Some("10.0.2.0/24".parse().unwrap()),
            |filter: &mut Filter| filter.protocol = Some(6),
            |filter: &mut Filter| filter.port = Some(54),
        ] {
            assert_eq!(judge(other), Verdict::Other);
        }
    }

    #[test]
    fn whoever_it_happened_for_is_a_source_too() {
        let requester = By::Requester { source: "10.0.1.66".parse().unwrap(), protocol: 6 };
        let kind = EventKind::EvictedTableFull;
        let event = Event { kind, by: Some(requester), ..sample::event() };
        let of = |network: &str| {
            filter(|filter| filter.source = Some(network.parse().unwrap())).judge(&event)
        };
        assert_eq!(of("10.0.1.66/32"), Verdict::Told);
        assert_eq!(of("10.0.1.67/32"), Verdict::Other);
    }

    #[test]
    fn what_is_blocked_as_part_of_a_network_is_blocked() {
        let mut event = Event::unseen(Kind::Blocked, sample::event().source, 1, 0);
        event.source.prefix_length = 24;
        event.source.address[3] = 0;
        let of = |network: &str| {
            let one = |filter: &mut Filter| {
                filter.source = Some(network.parse().unwrap());
                filter.protocol = Some(6);
            };
            filter(one).judge(&event)
        };
        assert_eq!(of("10.0.1.66/32"), Verdict::Told);
        assert_eq!(of("10.0.2.66/32"), Verdict::Other);
        assert_eq!(filter(|filter| filter.port = Some(53)).judge(&event), Verdict::Other);
    }

    #[test]
    fn suppressed_ones_have_no_port_that_is_known() {
        let event = Event::unseen(Kind::Refused, sample::event().source, 7, 0);
        assert_eq!(filter(|filter| filter.port = Some(53)).judge(&event), Verdict::PortUnknown);
        assert_eq!(filter(|_| {}).judge(&event), Verdict::Told);
    }
}
