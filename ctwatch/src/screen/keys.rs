//! What each key does, outside of a line that is typed.

use super::{cursor::Move, input::Key, tab::Tab};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End.
    Quit,
    /// Stop, as other programs do on Ctrl-Z.
    Suspend,
    /// Draw everything anew.
    Repaint,
    /// Show the keys, or no more.
    Help,
    /// One step back.
    Back,
    /// Into what is chosen.
    Into,
    /// Up or down.
    Go(Move),
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To a tab.
    Open(Tab),
    /// To the tab on the right.
    NextTab,
    /// To the tab on the left.
    PreviousTab,
    /// Type a filter.
    Filter,
    /// Sort by the column on the right.
    SortRight,
    /// Sort by the column on the left.
    SortLeft,
    /// Sort the other way round.
    Reverse,
    /// Add up wider prefixes.
    RollUp,
    /// Let the picture stand still, or go on.
    Pause,
    /// More time between two updates.
    Slower,
    /// Less time between two updates.
    Faster,
    /// Look anew for advice and blocks.
    Again,
    /// Keep the chosen source out.
    Block,
    /// Let the chosen source in again.
    Unblock,
    /// Follow an advice, by its number.
    Apply,
    /// Keep what was applied.
    Confirm,
    /// Undo what was applied.
    RollBack,
    /// The second key: run what is shown.
    Yes,
}

/// Some keys, and what they do.
#[derive(Debug)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [Key],
    /// What they are called.
    pub names: &'static str,
    /// What they do, for `?`.
    pub help: &'static str,
    /// What they ask for.
    pub action: Action,
}

use Key::{Character as C, Control};

/// All of them; tabs are also opened by their number.
pub const KEYS: &[Binding] = &[
    binding(&[C('q'), Control('c')], "q", "end", Action::Quit),
    binding(&[C('?')], "?", "this help", Action::Help),
    binding(&[Key::Up, C('k')], "up k", "one up", Action::Go(Move::Up(1))),
    binding(&[Key::Down, C('j')], "down j", "one down", Action::Go(Move::Down(1))),
    binding(&[Key::PageUp, Control('b')], "PgUp", "a page up", Action::PageUp),
    binding(&[Key::PageDown, Control('f')], "PgDn", "a page down", Action::PageDown),
    binding(&[Key::Home, C('g')], "Home g", "to the first", Action::Go(Move::First)),
    binding(&[Key::End, C('G')], "End G", "to the last", Action::Go(Move::Last)),
    binding(&[Key::Enter], "Enter", "into the chosen source, prefix or namespace", Action::Into),
    binding(&[Key::Escape], "Esc", "back; then no filter", Action::Back),
    binding(&[Key::Tab, Key::Right], "Tab", "next tab; 1 to 6 open one", Action::NextTab),
    binding(&[Key::BackTab, Key::Left], "Shift-Tab", "previous tab", Action::PreviousTab),
    binding(&[C('s'), C('>')], "s >", "sort by the next column", Action::SortRight),
    binding(&[C('S'), C('<')], "S <", "sort by the previous column", Action::SortLeft),
    binding(&[C('R')], "R", "reverse the order", Action::Reverse),
    binding(&[C('f'), C('/')], "f /", "filter: addresses, networks, protocols", Action::Filter),
    binding(&[C('x')], "x", "add up addresses, /24 and /64, /16 and /48", Action::RollUp),
    binding(&[C('p'), C(' ')], "p Space", "pause, and go on", Action::Pause),
    binding(&[C('+')], "+", "more time between updates", Action::Slower),
    binding(&[C('-')], "-", "less time between updates", Action::Faster),
    binding(&[C('r')], "r", "look for advice and blocks anew", Action::Again),
    binding(&[C('b')], "b", "block the chosen source: shows the command", Action::Block),
    binding(&[C('u')], "u", "let the chosen source in again: shows the command", Action::Unblock),
    binding(&[C('a')], "a", "apply an advice: asks for its number, shows the plan", Action::Apply),
    binding(&[C('c')], "c", "keep what was applied: shows the command", Action::Confirm),
    binding(&[C('U')], "U", "undo what was applied: shows the command", Action::RollBack),
    binding(&[C('y')], "y", "run the command that is shown; nothing else runs one", Action::Yes),
    binding(&[Control('l')], "Ctrl-L", "draw the screen anew", Action::Repaint),
    binding(&[Control('z')], "Ctrl-Z", "suspend; 'fg' comes back", Action::Suspend),
];

const fn binding(
    keys: &'static [Key],
    names: &'static str,
    help: &'static str,
    action: Action,
) -> Binding {
    Binding { keys, names, help, action }
}

/// What a key does; `None` for a key without a meaning.
pub fn action(key: Key) -> Option<Action> {
    if let Key::Character(character) = key
        && let Some(tab) = Tab::of_key(character)
    {
        return Some(Action::Open(tab));
    }
    KEYS.iter().find(|binding| binding.keys.contains(&key)).map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_one_meaning() {
        let all: Vec<Key> = KEYS.iter().flat_map(|binding| binding.keys).copied().collect();
        for (number, key) in all.iter().enumerate() {
            assert!(!all[..number].contains(key), "{key:?} is there twice");
        }
        assert_eq!(action(Key::Character('2')), Some(Action::Open(Tab::Events)));
        assert_eq!(action(Key::Character('9')), None);
        assert_eq!(action(Key::Control('c')), Some(Action::Quit));
    }
}
