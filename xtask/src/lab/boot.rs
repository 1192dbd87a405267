//! What is run on a kernel, and in how many machines.

use std::num::NonZeroUsize;
use std::thread;

use super::{Scale, TWO_PROCESSORS, reboot};
use crate::vm::kernel::Kernel;
use crate::vm::qemu::Processors;

/// What is done with a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// One machine, with so many processors, runs a part of the scenarios one after another.
    Scenarios(Processors, Part),
    /// The scenarios of a reboot, each in a machine of its own.
    Reboots,
}

/// A share of the scenarios, for machines side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which one, from 1.
    pub(super) number: usize,
    /// How many there are.
    pub(super) of: usize,
}

impl Part {
    pub(super) const WHOLE: Self = Self { number: 1, of: 1 };

    /// As many as there are processors for.
    fn all() -> impl Iterator<Item = Self> {
        let of = machines_at_once();
        (1..=of).map(move |number| Self { number, of })
    }
}

/// An emulated processor keeps one of this machine's busy.
pub(super) fn machines_at_once() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// A kernel, and what is run on it.
#[derive(Debug)]
pub(crate) struct Boot<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) what: What,
    pub(super) filters: Vec<String>,
    pub(super) scale: Scale,
}

impl<'a> Boot<'a> {
    /// The machines for scenarios on one kernel: all of them, unless filters choose some, are shared out to as many as can
    /// run at once. Those that need two processors have one of their own, and those of a reboot have several.
    pub(crate) fn of(kernel: &'a Kernel, filters: &[String], scale: Scale) -> Vec<Self> {
        let (two, one): (Vec<String>, Vec<String>) =
            filters.iter().cloned().partition(|filter| filter.contains(TWO_PROCESSORS));
        let (reboots, one): (Vec<String>, Vec<String>) =
            one.into_iter().partition(|filter| filter.contains(reboot::REBOOT));
        let mut boots = Vec::new();
        let boot = |what, filters| Self { kernel, what, filters, scale };
        if filters.is_empty() || !one.is_empty() {
            let others = ["--skip", TWO_PROCESSORS, "--skip", reboot::REBOOT].map(str::to_owned);
            let shares = if one.is_empty() { Part::all().collect() } else { vec![Part::WHOLE] };
            boots.extend(shares.into_iter().map(|part| {
                let scenarios = What::Scenarios(Processors::One, part);
                boot(scenarios, [one.as_slice(), &others].concat())
            }));
        }
        if filters.is_empty() || !two.is_empty() {
            let two = if two.is_empty() { vec![TWO_PROCESSORS.to_owned()] } else { two };
            boots.push(boot(What::Scenarios(Processors::Two, Part::WHOLE), two));
        }
        if filters.is_empty() || !reboots.is_empty() {
            boots.push(boot(What::Reboots, Vec::new()));
        }
        boots
    }

    /// What its files are called by.
    pub(super) fn name(&self) -> String {
        match self.what {
            What::Scenarios(Processors::One, Part::WHOLE) => self.kernel.series.clone(),
            What::Scenarios(Processors::One, Part { number, of }) => {
                format!("{}-{number}-of-{of}", self.kernel.series)
            }
            What::Scenarios(Processors::Two, _) => {
                format!("{}-{TWO_PROCESSORS}", self.kernel.series)
            }
            What::Reboots => format!("{}-reboot", self.kernel.series),
        }
    }
}
