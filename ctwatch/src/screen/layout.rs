//! What of the screen is where: the smaller it is, the less there is beside the body.

use ratatui::layout::Rect;

/// The lines of the screen. Parts for which there is no room are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Which namespace, when, how.
    pub heading: Rect,
    /// How full the table is.
    pub gauge: Rect,
    /// What comes, goes and is refused.
    pub rates: Rect,
    /// The last intervals.
    pub history: Rect,
    /// What is wrong, in one line.
    pub notable: Rect,
    /// The names of the tabs.
    pub tabs: Rect,
    /// The tab.
    pub body: Rect,
    /// Keys, messages, what is typed.
    pub footer: Rect,
}

/// Where each part is on a screen of this size; `notable_lines` are wanted for what is wrong.
pub fn layout(area: Rect, notable_lines: u16) -> Layout {
    let (history_lines, notable_lines) = match area.height {
        0..16 => (0, 0),
        16..30 => (3, notable_lines.min(1)),
        _ => (3, notable_lines.min(3)),
    };
    let mut left = area;
    let mut take = |lines: u16, height_min: u16| {
        let lines = if area.height >= height_min { lines.min(left.height) } else { 0 };
        let taken = Rect { height: lines, ..left };
        left.y += lines;
        left.height -= lines;
        taken
    };
    let heading = take(1, 6);
    let gauge = take(1, 2);
    let rates = take(1, 8);
    let history = take(history_lines, 16);
    let notable = take(notable_lines, 16);
    let tabs = take(1, 5);
    let footer_height = u16::from(area.height >= 4);
    let body = Rect { height: left.height.saturating_sub(footer_height), ..left };
    let footer = Rect { y: left.y + body.height, height: left.height - body.height, ..left };
    Layout { heading, gauge, rates, history, notable, tabs, body, footer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole_screen_at_every_size() {
        for height in 0..100 {
            for notable_lines in 0..5 {
                let area = Rect::new(0, 0, 80, height);
                let l = layout(area, notable_lines);
                let parts =
                    [l.heading, l.gauge, l.rates, l.history, l.notable, l.tabs, l.body, l.footer];
                let mut next = 0;
                for part in parts {
                    assert!(part.height == 0 || part.y == next, "{height}: {l:?}");
                    next += part.height;
                }
                assert_eq!(next, height);
                assert!(height < 12 || l.body.height > height / 3, "{height}: {l:?}");
            }
        }
    }
}
