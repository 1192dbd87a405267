//! What a doctor looks at: a table of checks, each of which says what it found in plain sentences with numbers. Pure: all
//! was read before. A new check is a function and a row of [`CHECKS`].

mod history;
mod lasting;
mod need;
mod sizes;
mod table;
#[cfg(test)]
mod tests;
mod tuning;

use super::{
    Diagnosis,
    advice::{Datum, Severity},
    case::Case,
    facts::Facts,
    settings::Settings,
};

/// All that is known when somebody asks what is wrong.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The network namespace, by inode number.
    pub netns: u32,
    /// How conntrack is set; `None` where it is not loaded or that cannot be read.
    pub settings: Option<&'a Settings>,
    /// What the machine is.
    pub facts: &'a Facts,
    /// What was seen of the table, or why nothing was.
    pub look: Result<Look<'a>, &'a str>,
}

/// What was seen of the table, and what was concluded from it.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What was seen.
    pub case: &'a Case,
    /// The cause, and what helps.
    pub diagnosis: &'a Diagnosis,
}

impl<'a> Subject<'a> {
    /// What was seen; `None` if nothing was.
    pub fn case(&self) -> Option<&'a Case> {
        self.look.as_ref().ok().map(|look| look.case)
    }

    /// Entries in the table of the namespace; `None` where conntrack is not loaded.
    pub fn entries(&self) -> Option<u64> {
        let read = || self.settings?.get("net.netfilter.nf_conntrack_count")?.try_into().ok();
        self.case().map(Case::entries).or_else(read)
    }
}

/// Something that a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    /// How much it matters; `None` if it could not be told, and the sentence says why.
    pub severity: Option<Severity>,
    /// A sentence or two.
    pub sentence: String,
    /// The numbers, and where they come from.
    pub evidence: Vec<Datum>,
}

impl Sign {
    fn new(severity: Severity, sentence: impl Into<String>, evidence: Vec<Datum>) -> Self {
        Self { severity: Some(severity), sentence: sentence.into(), evidence }
    }

    fn info(sentence: impl Into<String>) -> Self {
        Self::new(Severity::Info, sentence, Vec::new())
    }

    fn warning(sentence: impl Into<String>) -> Self {
        Self::new(Severity::Warning, sentence, Vec::new())
    }

    fn unknown(sentence: impl Into<String>) -> Self {
        Self { severity: None, sentence: sentence.into(), evidence: Vec::new() }
    }

    fn with(mut self, evidence: Datum) -> Self {
        self.evidence.push(evidence);
        self
    }
}

/// A check.
#[derive(Debug)]
pub struct Check {
    /// Its name in JSON.
    pub id: &'static str,
    /// What it is about, as a heading.
    pub what: &'static str,
    /// Looks at it.
    pub examine: fn(&Subject) -> Vec<Sign>,
}

/// All checks, in the order in which they are told: what is wrong now, what was, what may come, what to do.
pub const CHECKS: &[Check] = &[
    Check { id: "verdict", what: "verdict", examine: table::verdict },
    Check { id: "kernel_log", what: "kernel log", examine: history::kernel_log },
    Check { id: "tables", what: "tables", examine: table::tables },
    Check { id: "statistics", what: "per-CPU statistics", examine: history::statistics },
    Check { id: "expectations", what: "expectations", examine: table::expectations },
    Check { id: "chains", what: "hash chains", examine: sizes::chains },
    Check { id: "eviction", what: "refusals at a full table", examine: sizes::eviction },
    Check { id: "memory", what: "memory", examine: sizes::memory },
    Check { id: "timeouts", what: "timeouts", examine: tuning::timeouts },
    Check { id: "switches", what: "switches", examine: tuning::switches },
    Check { id: "need", what: "who needs conntrack", examine: need::users },
    Check { id: "modules", what: "modules", examine: need::modules },
    Check { id: "legacy_names", what: "names of Linux 2.6", examine: lasting::legacy_names },
    Check { id: "files", what: "files read at the start", examine: lasting::files },
    Check { id: "writers", what: "who else sets this", examine: lasting::writers },
    Check { id: "place", what: "where this runs", examine: lasting::place },
    Check { id: "unread", what: "could not be read", examine: lasting::unread },
    Check { id: "next", what: "what to do", examine: table::next },
];

/// What one check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The name of the check.
    pub id: &'static str,
    /// Its heading.
    pub what: &'static str,
    /// What it found, in order; never empty.
    pub signs: Vec<Sign>,
}

/// Makes every check. One that found nothing to say is left out.
pub fn examine(subject: &Subject) -> Vec<Section> {
    let sections = CHECKS.iter().map(|check| Section {
        id: check.id,
        what: check.what,
        signs: (check.examine)(subject),
    });
    sections.filter(|section| !section.signs.is_empty()).collect()
}
