//! The screen on a real terminal while a flood fills the table, at three sizes, with colours and without. What it shows is
//! printed, and is what docs/screens.md has.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::process::{Child, Command};

use ctwatch_lab::counters::GlobalSetting;
use ctwatch_lab::terminal::Colour;
use ctwatch_lab::{Flood, FlowPlan, Gateway, Terminal, counters, wait};

use crate::observed::{ctwatch, gateway, ip};

/// How many entries fit.
const LIMIT: u64 = 3000;
/// Many more buckets than entries: so most packets are refused.
const BUCKETS: u64 = 16_384;
const ABUSER: &str = "10.0.1.66";
const FLOOD_PER_S: NonZeroU64 = NonZeroU64::new(400).unwrap();

/// What is looked at, the keys that lead there, and what it has however small the screen is.
const TABS: [(&str, &str, &str); 5] = [
    ("the sources", "1\x1b", "SOURCE "),
    ("one source", "\r", "holds"),
    ("events", "2", "src=10.0.1.66"),
    ("advice", "4", "CAUSE: single_source"),
    ("health", "6", "HOOKS"),
];
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (40, 12)];

/// `ctwatch top` on a terminal of its own.
pub(crate) struct Top {
    terminal: Terminal,
    child: Child,
    modes: String,
}

impl Top {
    pub(crate) fn start(gateway: &Gateway, environment: &[(&str, &str)]) -> Self {
        let (columns, lines) = SIZES[0];
        let terminal = Terminal::open(columns, lines).unwrap();
        let modes = terminal.modes().unwrap();
        // In a session of its own the terminal is the one that its new size is told of.
        let mut command = Command::new("setsid");
        command.arg("-c").arg(ctwatch()).args([
            "top",
            "--interval",
            "500ms",
            "--netns",
            gateway.gateway().name(),
        ]);
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        command.envs(environment.iter().copied());
        let child = terminal.start(&mut command).unwrap();
        Self { terminal, child, modes }
    }

    /// Presses keys and waits for what they lead to.
    #[track_caller]
    pub(crate) fn shows(&mut self, keys: &str, what: &str) -> String {
        self.terminal.press(keys).unwrap();
        self.terminal.wait_for(what, |text| text.contains(what)).unwrap()
    }

    /// Ends it by `q`: it succeeds, and leaves the terminal as it was.
    #[track_caller]
    pub(crate) fn quit(mut self) {
        self.terminal.press("q").unwrap();
        let ended = wait::until(wait::PATIENCE, "the end of ctwatch top", || {
            self.terminal.screen()?;
            Ok(self.child.try_wait()?)
        });
        assert_eq!(ended.unwrap().code(), Some(0));
        assert_eq!(self.terminal.modes().unwrap(), self.modes);
        assert!(!self.terminal.screen().unwrap().alternate_screen());
    }

    fn capture(&mut self, colour: &str) {
        for (columns, lines) in SIZES {
            self.terminal.resize(columns, lines).unwrap();
            // The last line is where it belongs once all of it is drawn anew.
            let is_last = |text: &str| {
                text.lines().nth(usize::from(lines) - 1).is_some_and(|line| line.contains("q quit"))
            };
            self.terminal.wait_for("the new size", is_last).unwrap();
            for (name, keys, shown) in TABS {
                self.terminal.press(keys).unwrap();
                let text = self.terminal.wait_for(shown, |text| text.contains(shown)).unwrap();
                let width = usize::from(columns);
                assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
                let colours = colours(&mut self.terminal, columns, lines);
                assert_eq!(colours.is_empty(), colour == "NO_COLOR", "{colours:?} in {text}");
                print(&format!("{columns}x{lines} {colour} {name}"), &text);
            }
        }
    }
}

#[test]
fn top_shows_a_flood_at_every_size_and_blocks_it_by_a_second_key() {
    let Some(gateway) = gateway() else { return };
    let _buckets = GlobalSetting::buckets(BUCKETS).unwrap();
    let _limit = GlobalSetting::limit(LIMIT).unwrap();
    let state = tempfile::tempdir().unwrap();
    for client in 2..22 {
        FlowPlan::udp(ip(&format!("10.0.1.{client}")), 5 + client).send(gateway.client()).unwrap();
    }
    let flood =
        Flood::start(gateway.client(), FlowPlan::udp(ip(ABUSER), 1_000_000).at_rate(FLOOD_PER_S))
            .unwrap();
    let full = |text: &str| text.contains("100 %") && !text.contains("refused 0/s");
    let mut plain = Top::start(&gateway, &[("NO_COLOR", "1")]);
    plain.terminal.wait_for("a full table", full).unwrap();
    plain.capture("NO_COLOR");
    plain.quit();

    let directory = state.path().join("state").display().to_string();
    let mut top = Top::start(&gateway, &[("CTWATCH_STATE_DIR", &directory)]);
    top.terminal.wait_for("a full table", full).unwrap();
    top.capture("colour");
    top.terminal.resize(80, 24).unwrap();
    top.shows("1", "HELD");
    top.shows("b", &format!("ctwatch block {ABUSER}"));
    assert!(counters::listed(gateway.gateway(), ip(ABUSER)).unwrap() > LIMIT / 2, "not yet");
    print("80x24 colour the question", &top.terminal.text().unwrap());
    top.shows("y", "done");
    print("80x24 colour the answer", &top.terminal.text().unwrap());
    assert_eq!(counters::listed(gateway.gateway(), ip(ABUSER)).unwrap(), 0);
    top.shows("\x1b", "HELD");
    top.shows("5", "on the screen");
    print("80x24 colour blocks", &top.terminal.text().unwrap());
    top.shows("u", &format!("ctwatch unblock {ABUSER}"));
    top.shows("y", "done");
    top.quit();
    wait::until(wait::PATIENCE, "entries of the one that is let in again", || {
        Ok((counters::listed(gateway.gateway(), ip(ABUSER))? > 0).then_some(()))
    })
    .unwrap();
    flood.stop().unwrap();
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
