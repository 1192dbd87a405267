//! Why the table fills, or what else is wrong with it.

mod chains;
mod eviction;
mod expectations;
mod flood;
mod growth;
mod lingering;
mod memory;
mod not_needed;
mod snat_ports;
mod sources;

use super::{
    advice::Datum,
    bounds::Bounds,
    case::Case,
    pressure::Pressure,
    wording::{duration, percent},
};

/// The causes, in the words of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is wrong.
    None,
    /// One source, or a few, hold or open far more than all others.
    SingleSource,
    /// Many sources of next to no entries each, which have not shown to be there.
    SpoofedFlood,
    /// Entries that nobody uses any more stay for a long timeout.
    LingeringState,
    /// Everybody needs more than there is.
    Growth,
    /// Hash chains are so long that entries are not inserted, or look-ups are slow.
    BucketsTooSmall,
    /// The hash table is so large that the kernel does not find entries to evict.
    BucketsTooLarge,
    /// An address of source NAT has no port left towards a destination.
    SnatPorts,
    /// The table of expectations is full.
    Expectations,
    /// The kernel has no memory for entries.
    Memory,
    /// Connections are tracked and nothing needs it.
    ConntrackNotNeeded,
}

impl Cause {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SingleSource => "single_source",
            Self::SpoofedFlood => "spoofed_flood",
            Self::LingeringState => "lingering_state",
            Self::Growth => "growth",
            Self::BucketsTooSmall => "buckets_too_small",
            Self::BucketsTooLarge => "buckets_too_large",
            Self::SnatPorts => "snat_ports",
            Self::Expectations => "expectations",
            Self::Memory => "memory",
            Self::ConntrackNotNeeded => "conntrack_not_needed",
        }
    }
}

/// The cause, and what it was concluded from.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// A few plain sentences with the numbers.
    pub explanation: String,
    /// The numbers.
    pub evidence: Vec<Datum>,
}

/// What the causes are told by, computed once.
#[derive(Debug)]
struct Signs<'a> {
    case: &'a Case,
    /// `None` if there is no limit.
    pressure: Option<Pressure>,
    /// Packets refused because the table was full.
    refused: u64,
    /// Entries that could not be inserted because a chain was too long.
    too_long: u64,
    /// Entries that could not be inserted because their tuple was taken: two connections want the same port.
    clashes: u64,
    /// Entries that were asked for.
    asked: u64,
}

impl<'a> Signs<'a> {
    fn of(case: &'a Case) -> Self {
        let (kernel, totals) = (case.kernel(), case.totals());
        let too_long = kernel.chaintoolong.unwrap_or(0);
        let refused = totals.refused.unwrap_or(0);
        Self {
            case,
            pressure: Pressure::of(case),
            refused,
            too_long,
            clashes: kernel.insert_failed.unwrap_or(0).saturating_sub(too_long),
            asked: totals.new.unwrap_or(0).saturating_add(refused),
        }
    }

    fn is_high(&self) -> bool {
        self.pressure.is_some_and(|pressure| pressure.is_high())
    }

    /// How full the table is, as the beginning of a sentence.
    fn how_full(&self) -> String {
        let entries = self.case.entries_max.max(self.case.entries());
        let Some(pressure) = self.pressure else {
            return format!("the table holds {entries} entries");
        };
        let mut text = format!(
            "the table held up to {entries} entries, {} of its limit",
            percent(pressure.utilization)
        );
        if self.refused > 0 {
            text.push_str(&format!(
                ", and {} of {} packets that asked for one were refused",
                self.refused, self.asked
            ));
        } else if let Some(seconds) = pressure.time_to_full_s.filter(|_| !pressure.is_full()) {
            text.push_str(&format!(", and will be full in {}", duration(seconds)));
        }
        text
    }

    /// The numbers behind [`Self::how_full`].
    fn fullness(&self) -> Vec<Datum> {
        let mut data = vec![
            Datum::count("entries", self.case.entries(), "nf_conntrack_count"),
            Datum::real(
                "growth_per_s",
                self.case.growth_per_s(),
                "nf_conntrack_count over the look",
            ),
        ];
        // A mode that does not see refusals has not seen none.
        let refused = self.case.totals().refused;
        data.extend(
            refused.map(|refused| Datum::count("refused", refused, "totals.refused over the look")),
        );
        data.extend(self.pressure.map(|pressure| {
            Datum::real(
                "utilization",
                pressure.utilization,
                "most entries of the look / nf_conntrack_max",
            )
        }));
        data
    }
}

/// Each cause, and how it is told. The first that holds is named: what comes first would be mistaken for what comes
/// later, or hide it.
const CAUSES: [fn(&Signs<'_>) -> Option<Finding>; 11] = [
    // Packets are lost although there is room. A table that also fills, fills less fast than it would; and each of these gives way to
    // the others if the table refuses more than it loses.
    chains::lose_entries,
    snat_ports::are_used_up,
    expectations::are_used_up,
    memory::is_used_up,
    // The table is full, and somebody is to blame: whatever else could be better would only feed them. A flood first, as
    // its sources are nobody, and one of them may even stand out.
    flood::fills_the_table,
    sources::fill_the_table,
    // It is full, and nobody is to blame. If it has entries to give away and does not find them, that comes before
    // the question why it has them; then entries that nobody uses before those that somebody does.
    eviction::fails,
    lingering::fills_the_table,
    growth::fills_the_table,
    // Nothing is lost yet.
    chains::are_long,
    not_needed::by_anybody,
];

/// Names the one cause that explains most of what is wrong.
pub fn classify(case: &Case, _bounds: &Bounds) -> Finding {
    let signs = Signs::of(case);
    CAUSES.iter().find_map(|cause| cause(&signs)).unwrap_or_else(|| Finding {
        cause: Cause::None,
        explanation: format!("nothing is wrong with the table: {}", signs.how_full()),
        evidence: signs.fullness(),
    })
}

#[cfg(test)]
mod tests;
