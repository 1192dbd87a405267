//! The plan that was shown last: what `ctwatch apply --yes` carries out, if nothing has changed since. Pure; where it is kept
//! is `state`'s.

use serde::{Deserialize, Serialize};

use super::{
    knob::by_key,
    order::order,
    record::{Measured, Place, PlannedChange},
};
use crate::advise::{Diagnosis, advice::Advice, case::Case, sizing::cost};

/// The version of the format.
const SCHEMA: u32 = 1;
/// How long a plan is good for: traffic changes.
pub const GOOD_FOR_S: u64 = 3600;

/// One piece of advice in a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedAdvice {
    /// Its id.
    pub id: String,
    /// What to do, in one sentence.
    pub what: String,
    /// What it costs and what can go wrong.
    pub risk: String,
    /// Whether it is done without being asked for by its id.
    pub is_unasked: bool,
    /// The changes; none if it is nothing that ctwatch does by itself.
    pub changes: Vec<PlannedChange>,
    /// The same by hand.
    pub commands: Vec<String>,
    /// The share of packets that are expected to be refused afterwards.
    pub refused_share: Option<f64>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    schema: u32,
    /// When it was made, on `CLOCK_BOOTTIME`, in nanoseconds.
    pub boottime_ns: u64,
    /// Where.
    pub place: Place,
    /// The cause that was found.
    pub cause: String,
    /// The cause in sentences.
    pub explanation: String,
    /// What was seen.
    pub before: Measured,
    /// Memory of one entry.
    pub entry_bytes: u64,
    /// All advice, in its order.
    pub advice: Vec<PlannedAdvice>,
}

/// Why a plan from the disk cannot be carried out, so that a new one is to be shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// There is none.
    #[error("there is no plan that was shown and not carried out yet")]
    Missing,
    /// It is none.
    #[error("the plan that was shown last cannot be read any more ({0})")]
    Unreadable(String),
    /// It is of another start of the machine.
    #[error("the machine has been started anew since the last plan was shown")]
    Restarted,
    /// It is of another namespace.
    #[error("the plan that was shown last is for the network namespace {0}")]
    Elsewhere(String),
    /// It is too old.
    #[error("the plan that was shown last is {0} minutes old")]
    Old(u64),
}

/// Why advice cannot be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// There is none of that id.
    #[error("there is no advice '{id}': {}", if .ids.is_empty() { "there is none at all".to_owned() } else { format!("there is {}", .ids.join(", ")) })]
    Unknown {
        /// The id.
        id: String,
        /// Those that there are.
        ids: Vec<String>,
    },
    /// It is nothing that ctwatch does by itself.
    #[error("'{id}' is nothing that ctwatch does by itself; by hand: {}", .commands.join("; "))]
    ByHand {
        /// The id.
        id: String,
        /// How to do it.
        commands: Vec<String>,
    },
    /// Two pieces of advice make different values of one.
    #[error("'{0}' and '{1}' change {2} to different values: choose one of them")]
    Conflict(String, String, String),
}

/// What is to be done of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The ids.
    pub ids: Vec<String>,
    /// The changes, in the order in which they are made.
    pub changes: Vec<PlannedChange>,
    /// The share of packets that are expected to be refused afterwards; `None` if nothing is foretold.
    pub refused_share: Option<f64>,
}

impl Plan {
    /// Of what was found.
    pub fn of(case: &Case, diagnosis: &Diagnosis, place: Place, boottime_ns: u64) -> Self {
        Self {
            schema: SCHEMA,
            boottime_ns,
            place,
            cause: diagnosis.finding.cause.name().to_owned(),
            explanation: diagnosis.finding.explanation.clone(),
            before: Measured::of(case),
            entry_bytes: cost::entry_bytes(&case.facts.memory).0,
            advice: diagnosis.advice.iter().map(planned).collect(),
        }
    }

    /// From the file that it is kept in. What it names is checked; whether it may be done is not.
    ///
    /// # Errors
    ///
    /// It is no plan, or names what ctwatch does not change.
    pub fn from_json(json: &[u8]) -> Result<Self, Stale> {
        let unreadable = |why: String| Stale::Unreadable(why);
        let plan: Self =
            serde_json::from_slice(json).map_err(|error| unreadable(error.to_string()))?;
        if plan.schema != SCHEMA {
            return Err(unreadable(format!("it is of version {}", plan.schema)));
        }
        let mut changes = plan.advice.iter().flat_map(|advice| &advice.changes);
        match changes.find(|change| by_key(&change.key).is_none()) {
            Some(change) => Err(unreadable(format!("it changes '{}'", change.key))),
            None => Ok(plan),
        }
    }

    /// As JSON, to be kept.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// Whether it can still be carried out at `place` and this moment of `CLOCK_BOOTTIME`.
    ///
    /// # Errors
    ///
    /// It cannot, and why.
    pub fn check_fresh(&self, place: &Place, boottime_ns: u64) -> Result<(), Stale> {
        let age_s = boottime_ns.saturating_sub(self.boottime_ns) / 1_000_000_000;
        if self.place.boot != place.boot || boottime_ns < self.boottime_ns {
            Err(Stale::Restarted)
        } else if self.place.netns != place.netns {
            Err(Stale::Elsewhere(self.place.netns_name.clone()))
        } else if age_s > GOOD_FOR_S {
            Err(Stale::Old(age_s / 60))
        } else {
            Ok(())
        }
    }

    /// Chooses by id; without any, what need not be asked for.
    ///
    /// # Errors
    ///
    /// An id is unknown, or not for ctwatch to do, or two of them contradict each other.
    pub fn choose(&self, ids: &[String]) -> Result<Choice, ChoiceError> {
        let chosen: Vec<&PlannedAdvice> = if ids.is_empty() {
            let unasked = |advice: &&PlannedAdvice| advice.is_unasked && !advice.changes.is_empty();
            self.advice.iter().filter(unasked).collect()
        } else {
            for id in ids {
                self.check_doable(id)?;
            }
            self.advice.iter().filter(|advice| ids.contains(&advice.id)).collect()
        };
        let mut choice = Choice::default();
        let mut makers: Vec<&str> = Vec::new();
        for advice in &chosen {
            choice.ids.push(advice.id.clone());
            for change in &advice.changes {
                let known = choice.changes.iter().zip(&makers).find(|(of, _)| of.key == change.key);
                match known {
                    Some((of, maker)) if *of != *change => {
                        let (one, other) = ((*maker).to_owned(), advice.id.clone());
                        return Err(ChoiceError::Conflict(one, other, change.key.clone()));
                    }
                    Some(_) => {}
                    None => {
                        choice.changes.push(change.clone());
                        makers.push(&advice.id);
                    }
                }
            }
        }
        order(&mut choice.changes);
        // Each foretells as if it were alone; together they refuse no more than the best of them.
        let shares = chosen.iter().filter_map(|advice| advice.refused_share);
        choice.refused_share = shares.min_by(f64::total_cmp);
        Ok(choice)
    }

    fn check_doable(&self, id: &String) -> Result<(), ChoiceError> {
        let known = self.advice.iter().find(|advice| &advice.id == id);
        let advice = known.ok_or_else(|| ChoiceError::Unknown {
            id: id.clone(),
            ids: self.advice.iter().map(|advice| advice.id.clone()).collect(),
        })?;
        if advice.changes.is_empty() {
            let (id, commands) = (id.clone(), advice.commands.clone());
            return Err(ChoiceError::ByHand { id, commands });
        }
        Ok(())
    }

    /// What is left of it when this has been done: the rest may be chosen later, as long as its values hold.
    #[must_use]
    pub fn without(&self, done: &Choice) -> Self {
        let is_done = |change: &PlannedChange| done.changes.iter().any(|of| of.key == change.key);
        let mut left = self.clone();
        left.advice
            .retain(|advice| !done.ids.contains(&advice.id) && !advice.changes.iter().any(is_done));
        left
    }
}

fn planned(advice: &Advice) -> PlannedAdvice {
    let change = |change: &crate::advise::advice::Change| {
        let (from, to) = (change.from.parse().ok()?, change.to.parse().ok()?);
        by_key(&change.key).map(|knob| PlannedChange { key: knob.key, from, to })
    };
    // Half of an advice is none: if ctwatch cannot do all of it, it is by hand.
    let changes: Option<Vec<PlannedChange>> = advice.changes.iter().map(change).collect();
    let mut changes = changes.unwrap_or_default();
    changes.retain(|change| change.from != change.to);
    PlannedAdvice {
        id: advice.id.clone(),
        what: advice.what.clone(),
        risk: advice.risk.clone(),
        is_unasked: advice.is_unasked,
        changes,
        commands: advice.commands.clone(),
        refused_share: advice.expected.refused_share,
    }
}

impl Measured {
    /// What was seen in a look.
    pub fn of(case: &Case) -> Self {
        let totals = case.totals();
        let asked = totals.new.zip(totals.refused).map(|(new, refused)| (new + refused, refused));
        Self {
            seconds: case.seconds,
            entries: case.entries(),
            limit: case.settings.limit(),
            new_per_s: case.per_s(totals.new),
            refused_per_s: case.per_s(totals.refused),
            refused_share: asked
                .filter(|(asked, _)| *asked > 0)
                .map(|(asked, refused)| refused as f64 / asked as f64),
        }
    }
}
