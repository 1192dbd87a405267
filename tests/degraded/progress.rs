//! What takes long says on a terminal how far it is, in one line that goes away; elsewhere nothing is said of that.

use std::process::Command;

use ctwatch_lab::terminal::Terminal;
use ctwatch_lab::{FlowPlan, wait};

use crate::observed::{ctwatch, gateway, ip, wait_for_entries};

#[test]
fn a_look_says_on_a_terminal_how_long_it_goes_on_and_takes_that_away() {
    let Some(gateway) = gateway() else { return };
    FlowPlan::udp(ip("10.0.1.2"), 5).send(gateway.client()).unwrap();
    wait_for_entries(&gateway, 5);
    let advise = || {
        let mut command = Command::new(ctwatch());
        command.args(["advise", "--for", "3s", "--attach", "netlink"]);
        command.args(["--netns", gateway.gateway().name()]).env("TERM", "xterm");
        command
    };
    let mut terminal = Terminal::open(80, 40).unwrap();
    let mut child = terminal.start(&mut advise()).unwrap();
    terminal.wait_for("how far it is", |text| text.contains("looked for 1 s, 1 s left")).unwrap();
    let status = wait::until(wait::PATIENCE, "the end", || {
        terminal.text()?;
        Ok(child.try_wait()?)
    })
    .unwrap();
    assert_eq!(status.code(), Some(0));
    let text = terminal.text().unwrap();
    assert!(text.contains("CAUSE: none"), "{text}");
    assert!(!text.contains(" left"), "{text}");

    let output = advise().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("looking for 3s"), "{said}");
    assert!(!said.contains(" left") && !said.contains('\u{1b}'), "{said}");
}
