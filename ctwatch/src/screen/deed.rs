//! What can be done to the system from the screen: commands of ctwatch, each shown first, and run only after
//! a second key. The screen changes nothing by itself.

use ipnet::IpNet;

use crate::blocklist::ruleset::element;

/// How long a change of settings waits for its confirmation before it is undone.
const CONFIRM_WITHIN: &str = "5m";
/// How long a plan looks on before it is made.
const PLAN_LOOKS: &str = "5s";

/// A command that changes something, or leads to one that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Keeps a source out.
    Block(IpNet),
    /// Lets it in again.
    Unblock(IpNet),
    /// Makes the plan of an advice, by its id; it changes nothing.
    Plan(String),
    /// Carries the plan of an advice out.
    Apply(String),
    /// Keeps what was applied last.
    Confirm,
    /// Undoes what was applied last.
    RollBack,
}

/// How far a deed has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is shown, and waits for the second key.
    Asked,
    /// It runs.
    Running,
    /// It has ended: what it said, and whether it succeeded.
    Ended(Result<String, String>),
}

impl Deed {
    /// The command as it is typed, without the namespace and the reason, which are added; no word of it has a space.
    pub fn command(&self) -> String {
        match self {
            Self::Block(network) => format!("ctwatch block {}", element(network)),
            Self::Unblock(network) => format!("ctwatch unblock {}", element(network)),
            Self::Plan(id) => format!("ctwatch apply {id} --for {PLAN_LOOKS}"),
            Self::Apply(id) => format!(
                "ctwatch apply {id} --yes --confirm-within {CONFIRM_WITHIN} --no-look-after"
            ),
            Self::Confirm => "ctwatch confirm".to_owned(),
            Self::RollBack => "ctwatch rollback".to_owned(),
        }
    }

    /// What it does, in a sentence.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Block(_) => {
                "Drops what comes from it before conntrack sees it, for ten minutes, and ends its entries."
            }
            Self::Unblock(_) => "Lets it in again.",
            Self::Plan(_) => "Looks on and shows what would be changed; nothing is changed yet.",
            Self::Apply(_) => {
                "Makes these changes. They are undone by themselves after five minutes, unless they are confirmed."
            }
            Self::Confirm => "Keeps what was applied last.",
            Self::RollBack => "Undoes what was applied last.",
        }
    }

    /// What its end leads to, for which another second key is needed.
    pub fn next(&self) -> Option<Self> {
        match self {
            Self::Plan(id) => Some(Self::Apply(id.clone())),
            Self::Apply(_) => Some(Self::Confirm),
            Self::Block(_) | Self::Unblock(_) | Self::Confirm | Self::RollBack => None,
        }
    }

    /// Whether it may run without a second key, as it changes nothing.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Plan(_))
    }
}
