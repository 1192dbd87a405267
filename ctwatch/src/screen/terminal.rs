//! The terminal: keys and sizes from it, pictures to it, and its modes back as they were on every way out.
//!
//! Pictures are written on a thread of their own: a terminal that does not read (a stalled connection) holds up neither
//! keys nor signals. While one is being written the next ones are left out.

use std::{
    io::{self, IsTerminal as _, Write as _},
    panic,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc as blocking,
    },
    thread,
    time::Duration,
};

use ratatui::{
    backend::{Backend as _, CrosstermBackend},
    buffer::Buffer,
    crossterm::{
        cursor::{Hide, Show},
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        queue, terminal as modes,
    },
    layout::Rect,
};
use tokio::sync::mpsc;

use super::{
    input::{Input, Key},
    style::{Characters, Colours, Looks},
};

/// Keys that wait to be looked at.
const INPUTS_WAITING: usize = 256;
/// How long the last bytes may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whether the terminal has the screen's modes now.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// What the environment says of the terminal.
///
/// # Errors
///
/// A sentence, if it cannot show a screen.
pub fn looks(variable: impl Fn(&str) -> Option<String>) -> Result<Looks, String> {
    let said = |name: &str| variable(name).filter(|value| !value.is_empty());
    match said("TERM").as_deref() {
        None | Some("dumb" | "unknown") => {
            return Err("this terminal cannot show a screen (TERM is not set, or 'dumb'): use 'ctwatch watch'".to_owned());
        }
        Some(_) => {}
    }
    // https://no-color.org: whatever its value, unless it is empty.
    let colours = match said("NO_COLOR") {
        Some(_) => Colours::None,
        None => Colours::Sixteen,
    };
    // The order of precedence is that of setlocale(3).
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(said).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    let is_unicode = locale.ends_with("utf-8") || locale.ends_with("utf8");
    let characters = if is_unicode { Characters::Unicode } else { Characters::Ascii };
    Ok(Looks { colours, characters })
}

/// A terminal with the screen on it. Dropping it gives it back.
#[derive(Debug)]
pub struct Terminal {
    shown: Buffer,
    frames: blocking::SyncSender<Vec<u8>>,
    written: mpsc::Receiver<io::Result<()>>,
    inputs: mpsc::Receiver<Input>,
    is_writing: Writing,
}

/// Whether the terminal still takes the last picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    No,
    Yes,
    /// It will never take any again.
    Broken,
}

/// What comes from the terminal.
#[derive(Debug)]
pub enum FromTerminal {
    /// A key, or a new size.
    Input(Input),
    /// It has taken the last picture and is ready for another one.
    Ready,
}

impl Terminal {
    /// Takes the terminal over: another screen, no echo, keys at once.
    ///
    /// # Errors
    ///
    /// If it is none, or does not let itself be taken over.
    pub fn open() -> io::Result<Self> {
        install_panic_hook();
        let (columns, lines) = size()?;
        enter()?;
        let (frames, to_write) = blocking::sync_channel::<Vec<u8>>(1);
        let (report, written) = mpsc::channel(2);
        let writer = move || {
            for frame in to_write {
                if report.blocking_send(write(&frame)).is_err() {
                    return;
                }
            }
        };
        let (keys, inputs) = mpsc::channel(INPUTS_WAITING);
        let reader = move || {
            // It ends with the terminal, or with the program.
            while let Ok(event) = event::read() {
                for input in inputs_of(&event) {
                    if keys.blocking_send(input).is_err() {
                        return;
                    }
                }
            }
        };
        let started = thread::Builder::new()
            .name("screen".to_owned())
            .spawn(writer)
            .and_then(|_| thread::Builder::new().name("keys".to_owned()).spawn(reader));
        if let Err(error) = started {
            leave();
            return Err(error);
        }
        let shown = Buffer::empty(Rect::new(0, 0, columns, lines));
        Ok(Self { shown, frames, written, inputs, is_writing: Writing::No })
    }

    /// Its size: columns and lines.
    pub fn size(&self) -> (u16, u16) {
        (self.shown.area.width, self.shown.area.height)
    }

    /// The next thing that comes from it. Safe to be dropped and called again.
    ///
    /// # Errors
    ///
    /// If it is closed.
    pub async fn next(&mut self) -> io::Result<FromTerminal> {
        tokio::select! {
            input = self.inputs.recv() => input.map(FromTerminal::Input).ok_or_else(closed),
            written = self.written.recv() => match written {
                Some(Ok(())) => {
                    self.is_writing = Writing::No;
                    Ok(FromTerminal::Ready)
                }
                Some(Err(error)) => {
                    self.is_writing = Writing::Broken;
                    Err(error)
                }
                None => Err(closed()),
            },
        }
    }

    /// Whether it would take a picture now.
    pub fn is_ready(&self) -> bool {
        self.is_writing == Writing::No
    }

    /// Shows a picture, if it is ready for one: only what differs from the last one is written.
    ///
    /// # Errors
    ///
    /// If it is closed.
    pub fn show(&mut self, picture: Buffer) -> io::Result<()> {
        // After a panic the terminal is the message's.
        if !self.is_ready() || !IS_OURS.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        if picture.area != self.shown.area {
            queue!(bytes, modes::Clear(modes::ClearType::All))?;
            self.shown = Buffer::empty(picture.area);
        }
        CrosstermBackend::new(&mut bytes).draw(self.shown.diff(&picture).into_iter())?;
        self.shown = picture;
        self.is_writing = Writing::Yes;
        self.frames.try_send(bytes).map_err(|_| closed())
    }

    /// Has the next picture written as a whole.
    pub fn forget(&mut self) {
        self.shown = Buffer::empty(Rect::ZERO);
    }

    /// Gives the terminal back for a while, as long as this process is stopped.
    ///
    /// # Errors
    ///
    /// If it cannot be taken over again.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.finish_writing();
        leave();
        // The whole job stops, as the shell expects it on Ctrl-Z. Where nobody could let it go on the kernel does nothing.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        self.resume()
    }

    /// Takes the terminal over once more, after this process was stopped: whoever used it meanwhile has set its modes.
    ///
    /// # Errors
    ///
    /// If it cannot be taken over again.
    pub fn resume(&mut self) -> io::Result<()> {
        modes::disable_raw_mode()?;
        enter()?;
        self.forget();
        Ok(())
    }

    fn finish_writing(&mut self) {
        if self.is_writing != Writing::Yes {
            return;
        }
        let deadline = std::time::Instant::now() + FAREWELL;
        while std::time::Instant::now() < deadline {
            match self.written.try_recv() {
                Err(mpsc::error::TryRecvError::Empty) => {
                    thread::park_timeout(Duration::from_millis(5))
                }
                Ok(Ok(())) => {
                    self.is_writing = Writing::No;
                    return;
                }
                Ok(Err(_)) | Err(mpsc::error::TryRecvError::Disconnected) => break,
            }
        }
        self.is_writing = Writing::Broken;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.finish_writing();
        if self.is_writing == Writing::No {
            leave();
        } else {
            // Its modes do not depend on whether it reads.
            IS_OURS.store(false, Ordering::Relaxed);
            let _ = modes::disable_raw_mode();
        }
    }
}

/// The size of the terminal that is written to, which need not be the controlling one; a serial line does not know its
/// own, and is taken for the smallest usual one.
fn size() -> io::Result<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout())?;
    Ok(match (size.ws_col, size.ws_row) {
        (0, _) | (_, 0) => (80, 24),
        known => known,
    })
}

fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

fn enter() -> io::Result<()> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(io::Error::other("standard input and output are no terminal"));
    }
    modes::enable_raw_mode()?;
    IS_OURS.store(true, Ordering::Relaxed);
    let mut bytes = Vec::new();
    queue!(bytes, modes::EnterAlternateScreen, Hide, modes::Clear(modes::ClearType::All))?;
    write(&bytes).inspect_err(|_| leave())
}

/// Gives the terminal back, if it is not back yet. There is nobody to tell if that fails.
fn leave() {
    if !IS_OURS.swap(false, Ordering::Relaxed) {
        return;
    }
    let mut bytes = Vec::new();
    if queue!(bytes, Show, modes::LeaveAlternateScreen).is_ok() {
        let _ = write(&bytes);
    }
    let _ = modes::disable_raw_mode();
}

/// The message of a panic is to be read on the screen that stays.
fn install_panic_hook() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        leave();
        before(what);
    }));
}

fn inputs_of(event: &Event) -> impl Iterator<Item = Input> + use<> {
    let inputs = match event {
        Event::Resize(..) => {
            [size().ok().map(|(columns, lines)| Input::Resize(columns, lines)), None]
        }
        Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
            keys_of(*pressed).map(|key| key.map(Input::Key))
        }
        _ => [None, None],
    };
    inputs.into_iter().flatten()
}

/// Escape and the key after it arrive together on a slow line, as Alt and a key do on any: bytes do not tell one from the
/// other, and here no key has a meaning with Alt.
fn keys_of(pressed: KeyEvent) -> [Option<Key>; 2] {
    if !pressed.modifiers.contains(KeyModifiers::ALT) {
        return [key(pressed), None];
    }
    match pressed.code {
        KeyCode::Char(_) | KeyCode::Enter | KeyCode::Tab | KeyCode::Backspace => {
            [Some(Key::Escape), key(pressed)]
        }
        // Terminals send these with Alt in a sequence of their own.
        _ => [None, None],
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    let is_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        // What some terminals send for backspace.
        KeyCode::Char('h') if is_control => Key::Backspace,
        KeyCode::Char(character) if is_control => Key::Control(character.to_ascii_lowercase()),
        KeyCode::Char(character) => Key::Character(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_with(set: &[(&str, &str)]) -> Result<Looks, String> {
        looks(|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_says_what_the_terminal_can_show() {
        let xterm = ("TERM", "xterm-256color");
        let of = |set: &[(&str, &str)]| {
            let looks = looks_with(set).unwrap();
            (looks.colours, looks.characters)
        };
        assert_eq!(of(&[xterm]), (Colours::Sixteen, Characters::Ascii));
        assert_eq!(of(&[xterm, ("LANG", "C.UTF-8")]), (Colours::Sixteen, Characters::Unicode));
        assert_eq!(of(&[xterm, ("NO_COLOR", "")]), (Colours::Sixteen, Characters::Ascii));
        assert_eq!(of(&[xterm, ("NO_COLOR", "1")]), (Colours::None, Characters::Ascii));
        let overruled = [xterm, ("LANG", "en_GB.utf8"), ("LC_ALL", "C")];
        assert_eq!(of(&overruled), (Colours::Sixteen, Characters::Ascii));
        for dumb in [&[("TERM", "dumb")][..], &[("TERM", "")], &[]] {
            assert!(looks_with(dumb).unwrap_err().contains("ctwatch watch"));
        }
    }

    #[test]
    fn keys_are_known_by_what_they_mean() {
        let pressed = |code, modifiers| -> Vec<Key> {
            keys_of(KeyEvent::new(code, modifiers)).into_iter().flatten().collect()
        };
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), [Key::Control('c')]);
        assert_eq!(pressed(KeyCode::Char('R'), KeyModifiers::SHIFT), [Key::Character('R')]);
        assert_eq!(pressed(KeyCode::Char('h'), KeyModifiers::CONTROL), [Key::Backspace]);
        assert_eq!(pressed(KeyCode::F(5), KeyModifiers::NONE), []);
        assert_eq!(
            pressed(KeyCode::Char('p'), KeyModifiers::ALT),
            [Key::Escape, Key::Character('p')]
        );
        assert_eq!(pressed(KeyCode::Enter, KeyModifiers::ALT), [Key::Escape, Key::Enter]);
        assert_eq!(pressed(KeyCode::Up, KeyModifiers::ALT), []);
    }
}
