//! The screen on a real terminal, under traffic: it appears, keys and sizes change it, and whatever ends it, the terminal is
//! as it was before.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ctwatch_lab::terminal::Colour;
use ctwatch_lab::{FlowPlan, Gateway, Terminal, counters, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::observed::{ctwatch, gateway, ip, without_hooks};

const FLOWS: u64 = 30;
/// This test starts itself on a terminal, with this set: there it takes the terminal over, and panics.
const THIS: &str = "top::after_a_panic_the_terminal_is_as_it_was_and_shows_why";
const ROLE: &str = "CTWATCH_TEST_PANICS";

/// `ctwatch top` on a terminal of its own.
struct Top {
    terminal: Terminal,
    child: Child,
    modes: String,
}

impl Top {
    fn start(columns: u16, lines: u16, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let terminal = Terminal::open(columns, lines).unwrap();
        let modes = terminal.modes().unwrap();
        // In a session of its own the terminal is the one that signals come from.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(ctwatch()).arg("top").args(arguments);
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        command.envs(environment.iter().copied());
        let child = terminal.start(&mut command).unwrap();
        Self { terminal, child, modes }
    }

    fn on(gateway: &Gateway, columns: u16, lines: u16) -> Self {
        let arguments = without_hooks(gateway, &["--interval", "200ms"]);
        let mut top = Self::start(columns, lines, &arguments, &[]);
        top.terminal.wait_for("the sources", |text| text.contains("10.0.1.2")).unwrap();
        assert_ne!(top.terminal.modes().unwrap(), top.modes, "keys come one by one");
        assert!(top.terminal.screen().unwrap().alternate_screen());
        top
    }

    #[track_caller]
    fn shows(&mut self, keys: &str, what: &str) -> String {
        self.terminal.press(keys).unwrap();
        self.terminal.wait_for(what, |text| text.contains(what)).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        wait::until(wait::PATIENCE, "the end of ctwatch top", || {
            // Whoever is gone cannot wait for its last words to be read.
            self.terminal.screen()?;
            Ok(self.child.try_wait()?)
        })
        .unwrap()
    }

    /// Waits for its end, and looks whether the terminal is as it was. What is shown then.
    #[track_caller]
    fn ended(&mut self, status: i32) -> String {
        let ended = self.end();
        let text = self.terminal.text().unwrap();
        assert_eq!(ended.code(), Some(status), "{ended} with {text}");
        assert_eq!(self.terminal.modes().unwrap(), self.modes);
        let screen = self.terminal.screen().unwrap();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{text}");
        text
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// A gateway with entries; `None` if that is not possible here.
fn busy_gateway() -> Option<Gateway> {
    let gateway = gateway()?;
    for client in ["10.0.1.2", "10.0.1.3", "fd00:10::5"] {
        FlowPlan::udp(ip(client), FLOWS).send(gateway.client()).unwrap();
    }
    Some(gateway)
}

#[test]
fn the_screen_shows_the_sources_and_does_what_keys_say() {
    let Some(gateway) = busy_gateway() else { return };
    let mut top = Top::on(&gateway, 80, 24);
    let text = top.terminal.text().unwrap();
    assert!(text.contains("HELD▼") && text.contains("fd00:10::5"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    top.shows("s", "NEW/S▼");
    let filtered = top.shows("f10.0.1.3 udp\r", "only 10.0.1.3 udp");
    assert!(!filtered.contains("fd00:10::5") && filtered.contains("10.0.1.3"), "{filtered}");
    top.terminal.resize(80, 50).unwrap();
    top.shows("\r", "residency");
    top.shows("", "udp unreplied");
    // Each of its flows went to the same place.
    top.shows("", &format!("{FLOWS:>9} > "));
    top.terminal.resize(80, 24).unwrap();
    top.shows("\x1b", "NEW/S▼");
    top.shows("\r", "residency");
    // Both at once, as a slow line delivers them.
    top.shows("\x1b6", "HOOKS");
    top.shows("G", "insert_failed");
    top.shows("4", "CAUSE: ");
    top.shows("3", gateway.gateway().name());
    top.shows("?", "KEYS");
    top.shows("\x1b", "NAMESPACE");
    top.shows("p", "PAUSED");
    top.shows("p+", " 500ms");
    top.terminal.press("q").unwrap();
    top.ended(0);
}

#[test]
fn a_source_is_blocked_and_let_in_again_by_a_second_key() {
    let Some(gateway) = busy_gateway() else { return };
    let state = tempfile::tempdir().unwrap();
    let arguments =
        ["--interval", "200ms", "--attach", "netlink", "--netns", gateway.gateway().name()];
    let directory = state.path().join("state").display().to_string();
    let environment = [("CTWATCH_STATE_DIR", directory.as_str())];
    let mut top = Top::start(80, 24, &arguments, &environment);
    top.shows("", "10.0.1.3");
    top.shows("f10.0.1.3\r", "only 10.0.1.3");
    let is_blocked = || {
        let output = Command::new(ctwatch())
            .args(["blocks", "--json", "--netns", gateway.gateway().name()])
            .output()
            .unwrap();
        let blocks: Value = serde_json::from_slice(&output.stdout).unwrap();
        blocks["blocks"].as_array().unwrap().iter().any(|block| block["source"] == "10.0.1.3")
    };
    top.shows("b", "ctwatch block 10.0.1.3");
    // Any other key leaves it.
    top.shows("\x1b", "HELD");
    assert!(!is_blocked());
    top.shows("b", "y runs it");
    top.shows("y", "done");
    assert!(is_blocked());
    assert_eq!(counters::listed(gateway.gateway(), ip("10.0.1.3")).unwrap(), 0);
    top.shows("\x1b", "HELD");
    top.shows("5", "on the screen");
    top.shows("u", "ctwatch unblock 10.0.1.3");
    top.shows("y", "done");
    assert!(!is_blocked());
    top.shows("\x1b", "Nobody");
    top.terminal.press("q").unwrap();
    top.ended(0);
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let Some(gateway) = busy_gateway() else { return };
    let mut top = Top::on(&gateway, 80, 24);
    for (columns, lines, what) in
        [(120, 40, "ENTRY-S"), (40, 12, "1 Src"), (1, 1, ""), (5, 3, ""), (80, 24, "1 Sources")]
    {
        top.terminal.resize(columns, lines).unwrap();
        top.terminal.wait_for("the new size", |text| text.contains(what)).unwrap();
    }
    top.terminal.press("q").unwrap();
    top.ended(0);
}

#[test]
fn a_key_and_a_size_that_come_at_the_same_time_are_both_heard() {
    let Some(gateway) = busy_gateway() else { return };
    let mut top = Top::on(&gateway, 80, 24);
    for (lines, key, what) in [(40, "6", "HOOKS"), (24, "1", "HELD▼")].repeat(20) {
        top.terminal.resize(80, lines).unwrap();
        top.terminal.press(key).unwrap();
        let both = |text: &str| {
            let last = text.lines().nth(usize::from(lines) - 1);
            text.contains(what) && last.is_some_and(|line| line.contains("q quit"))
        };
        top.terminal.wait_for(&format!("{what} on {lines} lines"), both).unwrap();
    }
    top.terminal.press("q").unwrap();
    top.ended(0);
}

#[test]
fn without_colours_it_says_the_same() {
    let Some(gateway) = busy_gateway() else { return };
    let arguments = without_hooks(&gateway, &["--interval", "200ms"]);
    let mut top = Top::start(80, 24, &arguments, &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    let text = top.terminal.wait_for("the sources", |text| text.contains("10.0.1.2")).unwrap();
    assert!(text.is_ascii() && text.contains("HELDv"), "{text}");
    let screen = top.terminal.screen().unwrap();
    for (line, column) in (0..24).flat_map(|line| (0..80).map(move |column| (line, column))) {
        let cell = screen.cell(line, column).unwrap();
        assert_eq!((cell.fgcolor(), cell.bgcolor()), (Colour::Default, Colour::Default));
    }
    top.terminal.press("q").unwrap();
    top.ended(0);
}

#[test]
fn whatever_ends_it_the_terminal_is_as_it_was() {
    let Some(gateway) = busy_gateway() else { return };
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut top = Top::on(&gateway, 80, 24);
        top.signal(signal);
        top.ended(0);
    }
    let mut top = Top::on(&gateway, 80, 24);
    // Ctrl-C, which is a key here, while a filter is typed.
    top.terminal.press("f\x03").unwrap();
    top.ended(0);
}

#[test]
fn an_error_ends_it_and_is_read_on_the_screen_that_stays() {
    let Some(gateway) = busy_gateway() else { return };
    let mut top = Top::on(&gateway, 80, 24);
    let name = gateway.gateway().name().to_owned();
    drop(gateway);
    let text = top.ended(1);
    assert!(text.contains("has been deleted") && text.contains(&name), "{text}");
}

#[test]
fn a_terminal_that_does_not_read_holds_it_up_no_longer_than_a_second() {
    let Some(gateway) = busy_gateway() else { return };
    let mut top = Top::on(&gateway, 250, 100);
    // Whole screens, which nobody reads: many times what the terminal holds back.
    for size in 0..40 {
        top.terminal.resize(200 + size, 100).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    top.signal(Signal::TERM);
    let ended = wait::until(wait::PATIENCE, "its end", || Ok(top.child.try_wait()?)).unwrap();
    assert_eq!(ended.code(), Some(0));
    assert_eq!(top.terminal.modes().unwrap(), top.modes);
}

#[test]
fn a_closed_terminal_ends_it() {
    let Some(gateway) = busy_gateway() else { return };
    let Top { terminal, child, .. } = &mut Top::on(&gateway, 80, 24);
    *terminal = Terminal::open(80, 24).unwrap();
    let ended = wait::until(wait::PATIENCE, "its end", || Ok(child.try_wait()?)).unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(0), None));
}

#[test]
fn it_can_be_suspended_and_come_back() {
    let Some(gateway) = busy_gateway() else { return };
    let mut terminal = Terminal::open(80, 24).unwrap();
    let arguments = without_hooks(&gateway, &["top", "--interval", "200ms"]).join(" ");
    // With 'set -m' the shell gives each command a process group and the terminal, as it does for a person.
    let script = format!(
        "set -m; {} {arguments}; echo STOPPED; fg >/dev/null; echo ENDED",
        ctwatch().display()
    );
    let mut command = Command::new("setsid");
    command.args(["--ctty", "bash", "-c", &script]);
    command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
    let before = terminal.modes().unwrap();
    let mut child = terminal.start(&mut command).unwrap();
    terminal.wait_for("the sources", |text| text.contains("10.0.1.2")).unwrap();
    terminal.press("\x1a").unwrap();
    terminal
        .wait_for("the screen again", |text| !text.contains("STOPPED") && text.contains("10.0.1.2"))
        .unwrap();
    terminal.press("6").unwrap();
    terminal.wait_for("keys again", |text| text.contains("HOOKS")).unwrap();
    terminal.press("q").unwrap();
    let text = terminal.wait_for("the end", |text| text.contains("ENDED")).unwrap();
    assert!(text.contains("STOPPED"), "it was stopped meanwhile: {text}");
    wait::until(wait::PATIENCE, "the end of the shell", || Ok(child.try_wait()?)).unwrap();
    assert_eq!(terminal.modes().unwrap(), before);
}

#[test]
fn where_there_is_no_screen_it_says_what_to_use() {
    let output = Command::new(ctwatch()).arg("top").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty() && said.contains("use 'ctwatch watch'"), "{said}");
    let mut top = Top::start(80, 24, &[], &[("TERM", "dumb")]);
    let said = top.ended(77);
    assert!(said.contains("TERM") && said.contains("ctwatch watch"), "{said}");
    let mut top = Top::start(80, 24, &["--filter", "tpc"], &[]);
    let said = top.ended(2);
    assert!(said.contains("'tpc' is no address"), "{said}");
}

#[test]
fn after_a_panic_the_terminal_is_as_it_was_and_shows_why() {
    if std::env::var_os(ROLE).is_some() {
        let _terminal = ctwatch::screen::terminal::Terminal::open().unwrap();
        panic!("on purpose");
    }
    let mut terminal = Terminal::open(80, 24).unwrap();
    let before = terminal.modes().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", THIS, "--nocapture"]).env(ROLE, "1");
    // Or the message is above what is visible.
    command.env("RUST_BACKTRACE", "0");
    let mut child = terminal.start(&mut command).unwrap();
    let ended = wait::until(wait::PATIENCE, "the end of the test", || {
        terminal.screen()?;
        Ok(child.try_wait()?)
    });
    assert_eq!(ended.unwrap().code(), Some(101));
    assert_eq!(terminal.modes().unwrap(), before);
    let text = terminal.text().unwrap();
    assert!(text.contains("on purpose"), "{text}");
    assert!(!terminal.screen().unwrap().alternate_screen());
}
