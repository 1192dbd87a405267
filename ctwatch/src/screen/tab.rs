//! The tabs.

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    /// Who holds, opens and is refused entries.
    #[default]
    Sources,
    /// What happened to single packets.
    Events,
    /// The tables that are looked at.
    Namespaces,
    /// Why the table fills, and what helps.
    Advice,
    /// What is blocked, and how to.
    Blocks,
    /// Whether the numbers can be trusted, and what they cost.
    Health,
}

/// A tab, and what it is called.
#[derive(Debug)]
pub struct Title {
    /// Which one.
    pub tab: Tab,
    /// Its name.
    pub long: &'static str,
    /// The same for a narrow screen.
    pub short: &'static str,
}

/// All of them, from the left; their keys are 1, 2, 3 and so on.
pub const TABS: &[Title] = &[
    Title { tab: Tab::Sources, long: "Sources", short: "Src" },
    Title { tab: Tab::Events, long: "Events", short: "Evt" },
    Title { tab: Tab::Namespaces, long: "Namespaces", short: "Ns" },
    Title { tab: Tab::Advice, long: "Advice", short: "Adv" },
    Title { tab: Tab::Blocks, long: "Blocks", short: "Blk" },
    Title { tab: Tab::Health, long: "Health", short: "Hlt" },
];

impl Tab {
    /// The one at this distance to the right, and from the last one on with the first.
    pub fn further(self, by: usize) -> Self {
        let at = TABS.iter().position(|title| title.tab == self).unwrap_or(0);
        TABS.get((at + by) % TABS.len()).map_or(self, |title| title.tab)
    }

    /// The one to the left.
    pub fn previous(self) -> Self {
        self.further(TABS.len() - 1)
    }

    /// The one of a key.
    pub fn of_key(key: char) -> Option<Self> {
        let number = usize::try_from(key.to_digit(10)?).ok()?.checked_sub(1)?;
        TABS.get(number).map(|title| title.tab)
    }
}
