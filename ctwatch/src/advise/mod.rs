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
pub mod machine_state;
pub mod persistence;
pub mod pressure;
pub mod rules;
pub mod service_state;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::{facts::Writer, settings::LIMIT};

    /// One source among many has filled the table, and kube-proxy would set the limit again.
    #[test]
    fn a_diagnosis_is_of_whole_sentences_and_begins_with_what_stops_the_cause() {
        let mut sources = samples::crowd(50, 20);
        sources.push(("10.9.0.66", 17, 9000, 500));
        let mut case = samples::of_sources(&sources);
        case.facts.writers = vec![Writer {
            who: "kube-proxy (process 812)".to_owned(),
            keys: vec![LIMIT.to_owned()],
            how: "it sets them when it starts".to_owned(),
        }];
        let diagnosis = diagnose(&case, &Bounds::default());
        assert_eq!(diagnosis.finding.cause, cause::Cause::SingleSource);
        assert_eq!(diagnosis.advice[0].id, "block-source-10.9.0.66");
        // A larger table would only be the abuser's.
        assert!(diagnosis.refused.iter().any(|refused| refused.rule == "raise_limit"));
        assert!(diagnosis.advice.iter().all(|advice| advice.rule != "reset_writer"));
        let said = diagnosis.advice.iter().flat_map(|a| [&a.what, &a.why, &a.risk, &a.until]);
        let refused = diagnosis.refused.iter().map(|refused| &refused.why);
        for sentence in said.chain(refused).chain([&diagnosis.finding.explanation]) {
            assert!(sentence.ends_with('.'), "{sentence}");
        }
    }
}
