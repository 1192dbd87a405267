//! How long `ctwatch top` takes to answer a key while a flood goes on: on this machine, in its time. It must not judge the
//! numbers.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{Flood, FlowPlan, Gateway, GatewayPlan, Terminal, counters, wait};

/// What each key is, and what the screen has once it has answered it. They take turns, and lead back to where they began.
const KEYS: [(&str, &str, &str); 10] = [
    ("?", "help", "KEYS"),
    ("\x1b", "back", "HELD▼"),
    ("s", "sort by the next column", "NEW/S▼"),
    ("S", "sort by the one before", "HELD▼"),
    ("x", "add up addresses", "Enter look inside"),
    ("x", "add up /24s", "Enter look inside"),
    ("xx", "add up no more", "Enter look at it"),
    ("6", "health", "HOOKS"),
    ("2", "events", "Tab next"),
    ("1", "sources", "HELD▼"),
];
/// A terminal as wide as those of the table.
const SIZE: (u16, u16) = (120, 40);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the terminal is looked at.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The program to measure
    #[arg(long)]
    ctwatch: PathBuf,
    /// How many sources hold entries
    #[arg(long, default_value = "100000")]
    sources: NonZeroU64,
    /// Flows a second that come meanwhile, one a source in turn
    #[arg(long, default_value = "20000")]
    rate: NonZeroU64,
    /// How often each key is pressed
    #[arg(long, default_value = "20")]
    presses: NonZeroU64,
}

/// Measures, and returns a table.
///
/// # Errors
/// When the gateway cannot be built, or a key is never answered.
pub fn measure(options: &Options) -> Result<String> {
    let gateway = Gateway::build(&GatewayPlan::default())?;
    let first = "10.0.0.2".parse().context("an address")?;
    let sources = FlowPlan::udp(first, options.sources.get()).from_sources(options.sources);
    sources.send(gateway.client())?;
    let held = counters::entries(gateway.gateway())?;
    ensure!(
        held >= options.sources.get(),
        "of {} flows only {held} have an entry: is net.netfilter.nf_conntrack_max too small for this?",
        options.sources
    );
    let mut top = Top::start(options, &gateway)?;
    let rows = top.terminal.wait_for("the sources", |text| text.contains("10.0."))?;
    ensure!(rows.contains("HELD▼"), "{rows}");
    let flood = FlowPlan::udp(first, u64::MAX)
        .from_sources(options.sources)
        .starting_at(options.sources.get())
        .at_rate(options.rate);
    let flood = Flood::start(gateway.client(), flood)?;
    let begun = (Instant::now(), flood.flows_so_far());
    let mut measured: Vec<Vec<Duration>> = vec![Vec::new(); KEYS.len()];
    for _ in 0..options.presses.get() {
        for ((keys, what, shows), took) in KEYS.iter().zip(&mut measured) {
            took.push(top.answer(keys, what, shows)?);
        }
    }
    let flows = flood.flows_so_far() - begun.1;
    let rate = flows as f64 / begun.0.elapsed().as_secs_f64();
    flood.stop()?;
    let entries = counters::entries(gateway.gateway())?;
    top.terminal.press("q")?;
    let child = &mut top.child;
    wait::until(wait::PATIENCE, "the end of ctwatch top", || Ok(child.try_wait()?))?;
    let mut table = format!(
        "{} sources, {entries} entries, {rate:.0} new flows a second, a key in milliseconds:\n\n\
         | Key | Median | Slowest of {} |\n|---|---|---|\n",
        options.sources, options.presses
    );
    for ((_, what, _), took) in KEYS.iter().zip(&mut measured) {
        took.sort_unstable();
        let ms = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1e3);
        let (median, slowest) = (ms(took.get(took.len() / 2)), ms(took.last()));
        table += &format!("| {what} | {median:.1} | {slowest:.1} |\n");
    }
    Ok(table)
}

/// The program on a terminal of its own.
struct Top {
    terminal: Terminal,
    child: Child,
}

impl Top {
    fn start(options: &Options, gateway: &Gateway) -> Result<Self> {
        let terminal = Terminal::open(SIZE.0, SIZE.1)?;
        let mut command = Command::new(&options.ctwatch);
        command.args(["top", "--netns", gateway.gateway().name()]);
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        let child = terminal.start(&mut command)?;
        Ok(Self { terminal, child })
    }

    /// How long a key took to show something that was not there before.
    fn answer(&mut self, keys: &str, what: &str, shows: &str) -> Result<Duration> {
        let before = self.terminal.text()?;
        let pressed = Instant::now();
        self.terminal.press(keys)?;
        while pressed.elapsed() < PATIENCE {
            let text = self.terminal.text()?;
            if text != before && text.contains(shows) {
                return Ok(pressed.elapsed());
            }
            thread::park_timeout(LOOK_EVERY);
        }
        bail!(
            "no answer to {keys:?} ({what}) within {PATIENCE:?}; the terminal shows:\n{}",
            self.terminal.text()?
        )
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
