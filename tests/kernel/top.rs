//! The screen on a real terminal while a flood fills the table, at three sizes, with colours and without. What it shows is
//! printed, and is what docs/screens.md has.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::process::{Child, Command};

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::terminal::Colour;
use ctwatch_lab::{Flood, FlowPlan, Gateway, Terminal, wait};

use crate::observed::{ctwatch, gateway, ip};

/// How many entries fit.
const LIMIT: u64 = 3000;
/// Many more buckets than entries: so most packets are refused.
const BUCKETS: u64 = 16_384;
const FLOOD_PER_S: NonZeroU64 = NonZeroU64::new(400).unwrap();

const TABS: [(&str, &str, &str); 4] = [
    ("the sources", "", "10.0.1.66"),
    ("one source", "\r", "residency"),
    ("advice", "4", "CAUSE: single_source"),
    ("events", "2", "refused (table full)"),
];

#[test]
fn top_shows_a_flood_at_every_size_with_colours_and_without() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    for client in 2..22 {
        FlowPlan::udp(ip(&format!("10.0.1.{client}")), 5 + client).send(gateway.client()).unwrap();
    }
    let flood = Flood::start(
        gateway.client(),
        FlowPlan::udp(ip("10.0.1.66"), 1_000_000).at_rate(FLOOD_PER_S),
    )
    .unwrap();
    for (columns, lines) in [(80, 24), (120, 40), (40, 12)] {
        for no_colour in ["", "1"] {
            look(&gateway, columns, lines, no_colour);
        }
    }
    flood.stop().unwrap();
}

fn look(gateway: &Gateway, columns: u16, lines: u16, no_colour: &str) {
    let mut terminal = Terminal::open(columns, lines).unwrap();
    let modes = terminal.modes().unwrap();
    let mut command = Command::new(ctwatch());
    command.args(["top", "--interval", "500ms", "--netns", gateway.gateway().name()]);
    command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env("NO_COLOR", no_colour);
    let mut child = terminal.start(&mut command).unwrap();
    let full = |text: &str| text.contains("100 %") && !text.contains("refused 0/s");
    terminal.wait_for("a full table", full).unwrap();
    for (name, keys, shown) in TABS {
        terminal.press(keys).unwrap();
        let is_there = |text: &str| lines < 24 || text.contains(shown);
        let text = terminal.wait_for(shown, is_there).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(columns)), "{text}");
        let colours = colours(&mut terminal, columns, lines);
        assert_eq!(colours.is_empty(), !no_colour.is_empty(), "{colours:?} in {text}");
        print(
            &format!("{columns}x{lines} NO_COLOR={no_colour} {name}: colours {colours:?}"),
            &text,
        );
    }
    terminal.press("q").unwrap();
    end(&mut terminal, &mut child);
    assert_eq!(terminal.modes().unwrap(), modes);
}

fn end(terminal: &mut Terminal, child: &mut Child) {
    let ended = wait::until(wait::PATIENCE, "the end of ctwatch top", || {
        terminal.screen()?;
        Ok(child.try_wait()?)
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

/// The colours other than the terminal's own.
fn colours(terminal: &mut Terminal, columns: u16, lines: u16) -> BTreeSet<String> {
    let screen = terminal.screen().unwrap();
    let cells = (0..lines).flat_map(|line| (0..columns).map(move |column| (line, column)));
    cells
        .filter_map(|(line, column)| screen.cell(line, column))
        .flat_map(|cell| [cell.fgcolor(), cell.bgcolor()])
        .filter(|colour| *colour != Colour::Default)
        .map(|colour| format!("{colour:?}"))
        .collect()
}

/// On the console, also where the test passes.
fn print(title: &str, text: &str) {
    let lines: String = text.lines().map(|line| format!("screen| {line}\n")).collect();
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "screen: {title}\n{lines}").unwrap();
}
