//! How things look, with colours and without, with line characters and without.

use ratatui::style::{Color, Modifier, Style};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Its colours.
    pub colours: Colours,
    /// Its characters.
    pub characters: Characters,
}

/// Colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// The sixteen that every terminal with colours has, as its user has chosen them.
    Sixteen,
    /// None: bold and reversed only.
    None,
}

/// Characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Characters {
    /// Blocks of eighths and arrows.
    Unicode,
    /// Nothing beyond ASCII.
    Ascii,
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As everything else.
    Plain,
    /// A heading.
    Heading,
    /// The headings of columns, the chosen tab.
    Bar,
    /// The chosen row.
    Chosen,
    /// All is well.
    Good,
    /// It will fail.
    Warning,
    /// It fails now.
    Critical,
    /// Of less interest.
    Faint,
}

/// Blocks of eighths, from none to a whole one.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const BLOCKS_ASCII: [char; 9] = [' ', '.', ',', ':', '-', '=', '+', '*', '#'];

impl Looks {
    /// How a role looks.
    pub fn style(self, role: Role) -> Style {
        let plain = Style::new();
        match (self.colours, role) {
            (_, Role::Plain) => plain,
            (_, Role::Heading) => plain.add_modifier(Modifier::BOLD),
            (_, Role::Chosen | Role::Bar) => plain.add_modifier(Modifier::REVERSED),
            (Colours::Sixteen, Role::Good) => plain.fg(Color::Green),
            (Colours::Sixteen, Role::Warning) => plain.fg(Color::Yellow),
            (Colours::Sixteen, Role::Critical) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Colours::Sixteen, Role::Faint) => plain.add_modifier(Modifier::DIM),
            (Colours::None, Role::Good | Role::Faint) => plain,
            (Colours::None, Role::Warning | Role::Critical) => plain.add_modifier(Modifier::BOLD),
        }
    }

    /// A block that is this many eighths high; more than eight are eight.
    pub fn block(self, eighths: usize) -> char {
        let blocks = match self.characters {
            Characters::Unicode => BLOCKS,
            Characters::Ascii => BLOCKS_ASCII,
        };
        blocks.get(eighths).copied().unwrap_or(match self.characters {
            Characters::Unicode => '█',
            Characters::Ascii => '#',
        })
    }

    /// The mark of the column that is sorted by, for the most or the least first.
    pub fn sort_mark(self, order: super::columns::Order) -> char {
        use super::columns::Order::{Ascending, Descending};
        match (self.characters, order) {
            (Characters::Unicode, Descending) => '▼',
            (Characters::Unicode, Ascending) => '▲',
            (Characters::Ascii, Descending) => 'v',
            (Characters::Ascii, Ascending) => '^',
        }
    }

    /// What stands for the part of a bar that is not filled.
    pub fn unfilled(self) -> char {
        match self.characters {
            Characters::Unicode => '░',
            Characters::Ascii => '.',
        }
    }
}
