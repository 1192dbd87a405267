//! Where one is in a list that may be longer than the screen.

/// The chosen row, and the first that is visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The chosen one.
    pub at: usize,
    /// The topmost visible one.
    pub top: usize,
}

/// A way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// So many rows up.
    Up(usize),
    /// So many rows down.
    Down(usize),
    /// To the first.
    First,
    /// To the last.
    Last,
}

impl Move {
    /// Where it leads from `at`; it may be behind the end.
    pub fn from(self, at: usize) -> usize {
        match self {
            Self::Up(rows) => at.saturating_sub(rows),
            Self::Down(rows) => at.saturating_add(rows),
            Self::First => 0,
            Self::Last => usize::MAX,
        }
    }
}

impl Cursor {
    /// Chooses another row.
    pub fn go(&mut self, way: Move) {
        self.at = way.from(self.at);
    }

    /// Keeps the chosen row among `rows`, and on a screen of `height` rows.
    pub fn settle(&mut self, rows: usize, height: usize) {
        self.at = self.at.min(rows.saturating_sub(1));
        let top_max = rows.saturating_sub(height);
        let top_min = (self.at + 1).saturating_sub(height);
        self.top = self.top.min(self.at).max(top_min).min(top_max.max(top_min));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_chosen_row_is_always_visible(
            steps in proptest::collection::vec((0_usize..4, 0_usize..50, 0_usize..300, 0_usize..30), 0..50),
        ) {
            let mut cursor = Cursor::default();
            for (way, by, rows, height) in steps {
                cursor.go([Move::Up(by), Move::Down(by), Move::First, Move::Last][way]);
                cursor.settle(rows, height);
                prop_assert!(cursor.at < rows.max(1));
                if height > 0 {
                    prop_assert!((cursor.top..cursor.top + height).contains(&cursor.at));
                    // No line stays empty while there is something above.
                    prop_assert!(cursor.top == 0 || cursor.top + height <= rows);
                }
            }
        }
    }
}
