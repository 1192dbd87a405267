//! Why the table fills, and what helps: pure functions of what was measured.
//!
//! A [`Case`](case::Case) is all that is known; [`classify`](cause::classify) names the cause; each rule judges the case by
//! itself and gives advice, refuses to, with the reason, or is silent. A new rule is a file in `rules` and a row in
//! [`RULES`](rules::RULES).

pub mod addresses;
pub mod advice;
pub mod bounds;
pub mod case;
pub mod cause;
pub mod examination;
pub mod facts;
pub mod holders;
pub mod persistence;
pub mod pressure;
pub mod rules;
pub mod settings;
pub mod sizing;
pub mod timeouts;
pub mod verdict;
pub mod what_if;
pub mod wording;

#[cfg(test)]
pub(crate) mod samples;

use advice::Advice;
use bounds::Bounds;
use case::Case;
use cause::Finding;
use verdict::{RefusedAdvice, Verdict};
use wording::sentence;

/// What is said of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// Why the table fills, or what else is wrong.
    pub finding: Finding,
    /// What helps, in the order in which it should be done.
    pub advice: Vec<Advice>,
    /// What would not help, and why.
    pub refused: Vec<RefusedAdvice>,
}

/// Names the cause and asks every rule.
pub fn diagnose(case: &Case, bounds: &Bounds) -> Diagnosis {
    let mut finding = cause::classify(case, bounds);
    let (mut advice, mut refused) = (Vec::new(), Vec::new());
    for rule in rules::RULES {
        match (rule.judge)(case, &finding, bounds) {
            Verdict::Advise(found) => advice.extend(found),
            Verdict::Refuse(why) => refused.push(RefusedAdvice { rule: rule.id, why }),
            Verdict::Silent => {}
        }
    }
    advice.iter_mut().for_each(Advice::finish_sentences);
    refused.iter_mut().for_each(|refused| refused.why = sentence(&refused.why));
    finding.explanation = sentence(&finding.explanation);
    rules::reset_writer::mention(case, &mut advice);
    Diagnosis { finding, advice, refused }
}
