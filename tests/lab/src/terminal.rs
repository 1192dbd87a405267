//! A terminal: a pseudo-terminal of the kernel, and what it shows. It must not know what that means.

use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::wait;

pub use vt100::Color as Colour;

/// A terminal, seen from both sides.
pub struct Terminal {
    controller: OwnedFd,
    peer: OwnedFd,
    screen: vt100::Parser,
}

impl Terminal {
    /// One of so many columns and lines.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open(columns: u16, lines: u16) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).context("cannot open a pseudo-terminal")?;
        unlockpt(&controller)?;
        let peer = ioctl_tiocgptpeer(&controller, flags)?;
        fcntl_setfl(&controller, fcntl_getfl(&controller)? | OFlags::NONBLOCK)?;
        let mut terminal =
            Self { controller, peer, screen: vt100::Parser::new(cells(lines), cells(columns), 0) };
        terminal.resize(columns, lines)?;
        Ok(terminal)
    }

    /// Starts a command on it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, command: &mut Command) -> Result<Child> {
        command
            .stdin(self.peer.try_clone()?)
            .stdout(self.peer.try_clone()?)
            .stderr(self.peer.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))
    }

    /// Its modes: echo, line editing, and the like.
    ///
    /// # Errors
    /// When it is closed.
    pub fn modes(&self) -> Result<String> {
        Ok(format!("{:?}", tcgetattr(&self.peer)?))
    }

    /// Gives it another size.
    ///
    /// # Errors
    /// When it is closed.
    pub fn resize(&mut self, columns: u16, lines: u16) -> Result<()> {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.controller, size)?;
        self.screen.screen_mut().set_size(cells(lines), cells(columns));
        Ok(())
    }

    /// Presses keys.
    ///
    /// # Errors
    /// When it is closed or nobody reads them.
    pub fn press(&self, keys: &str) -> Result<()> {
        rustix::io::write(&self.controller, keys.as_bytes())?;
        Ok(())
    }

    /// What it shows after all that was written to it until now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn screen(&mut self) -> Result<&vt100::Screen> {
        let mut bytes = [0; 4096];
        loop {
            match rustix::io::read(&self.controller, &mut bytes) {
                Ok(read) if read > 0 => self.screen.process(bytes.get(..read).unwrap_or_default()),
                // Nothing more now; or, where no process has it open any more, ever.
                Ok(_) | Err(Errno::AGAIN | Errno::IO) => return Ok(self.screen.screen()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The characters that it shows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&mut self) -> Result<String> {
        Ok(self.screen()?.contents())
    }

    /// Waits until it shows something.
    ///
    /// # Errors
    /// When it does not in time; the error has what it shows instead.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let found = wait::until(wait::PATIENCE, what, || {
            let text = self.text()?;
            Ok(is_it(&text).then_some(text))
        });
        found.with_context(|| format!("the terminal shows:\n{}", self.screen.screen().contents()))
    }
}

/// A terminal has one cell at least.
fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap_or(NonZero::<u16>::MIN)
}
