//! One program that watches the gateway: started, waited for until it sees everything, and ended. It must not know what
//! the program is.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::configuration::{Configuration, Group::Ours};
use super::meter::Group;
use crate::namespace::Namespace;
use crate::wait;

/// Names a BPF object for ctwatch to use instead of its own.
const BPF_OBJECT: &str = "CTWATCH_BPF_OBJECT";
/// Where its output is kept.
const OUTPUT: &str = "/tmp/agent.out";
/// Where what it says is kept.
const TALK: &str = "/tmp/agent.err";
/// Its control group.
const GROUP: &str = "agent";
/// An agent is idle when it has executed next to nothing for so long.
const QUIET: Duration = Duration::from_millis(600);
/// As much may be executed by a program that is idle: looking at a clock, say.
const QUIET_INSTRUCTIONS: u64 = 200_000;
/// How long a program may take to start: bpftrace compiles.
const START: Duration = Duration::from_secs(60);
/// How long a program that was interrupted may take to end.
const INTERRUPT: Duration = Duration::from_secs(5);

/// A running agent. Dropping it without [`Agent::stop`] kills it with the machine.
#[derive(Debug)]
pub(super) struct Agent {
    name: &'static str,
    child: Child,
    group: Group,
}

impl Agent {
    /// Starts the program of a row in the gateway's namespace, and waits until it sees everything; `None` if the row has no program.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is never ready.
    pub(super) fn start(
        configuration: &Configuration,
        gateway: &Namespace,
    ) -> Result<Option<Self>> {
        if configuration.command.is_empty() {
            return Ok(None);
        }
        let group = Group::create(GROUP)?;
        let object = std::env::var(BPF_OBJECT).ok().filter(|_| configuration.group == Ours);
        let arguments = configuration
            .command
            .iter()
            .map(|word| if *word == "{netns}" { gateway.name() } else { word })
            .chain(object.iter().flat_map(|object| ["--bpf-object", object]));
        let output = File::create(OUTPUT).with_context(|| format!("cannot create {OUTPUT}"))?;
        let talk = File::create(TALK).with_context(|| format!("cannot create {TALK}"))?;
        let child = gateway.within(|| {
            Command::new("sh")
                .args(["-c", "echo 0 > \"$0\" && exec \"$@\""])
                .arg(group.processes())
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(output)
                .stderr(talk)
                .spawn()
                .with_context(|| format!("cannot start {}", configuration.name))
        })?;
        let mut agent = Self { name: configuration.name, child, group };
        match agent.wait_until_ready(configuration.ready) {
            Ok(()) => Ok(Some(agent)),
            Err(error) => {
                agent.end()?;
                Err(error)
            }
        }
    }

    /// What accounts for its processes.
    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C does, once it has dealt with what waits for it, and returns all that it printed.
    ///
    /// # Errors
    /// When it ended before.
    pub(super) fn stop(mut self) -> Result<String> {
        wait::until(START, "the agent to be idle", || {
            self.check_alive()?;
            // Whoever prints once a second needs one more to print the last number.
            wait::pause(2 * QUIET);
            Ok(self.is_quiet()?.then_some(()))
        })?;
        self.end()?;
        std::fs::read_to_string(OUTPUT).with_context(|| format!("cannot read {OUTPUT}"))
    }

    fn wait_until_ready(&mut self, ready: Option<(&str, usize)>) -> Result<()> {
        wait::until(START, self.name, || {
            self.check_alive()?;
            let is_ready = ready.is_none_or(|(word, times)| {
                std::fs::read_to_string(OUTPUT)
                    .is_ok_and(|output| output.matches(word).count() >= times)
            });
            Ok((is_ready && self.is_quiet()?).then_some(()))
        })
    }

    /// Interrupts it, and kills what does not care: a shell in a loop, say.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) fn end(mut self) -> Result<()> {
        let process = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let process = process.context("a child has a process id")?;
        // It may have ended by itself.
        let _gone = kill_process(process, Signal::INT);
        let has_ended = wait::until(INTERRUPT, "the agent's end", || {
            self.child.try_wait().context("cannot wait for the agent")
        });
        if has_ended.is_err() {
            self.child.kill().context("cannot kill the agent")?;
            self.child.wait().context("cannot wait for the agent")?;
        }
        self.group.remove()
    }

    fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot wait for the agent")? {
            let said = std::fs::read_to_string(TALK).unwrap_or_default();
            bail!("{} ended with {status}: {}", self.name, said.trim());
        }
        Ok(())
    }

    fn is_quiet(&self) -> Result<bool> {
        let before = self.group.instructions()?;
        wait::pause(QUIET);
        Ok(self.group.instructions()?.saturating_sub(before) <= QUIET_INSTRUCTIONS)
    }
}
