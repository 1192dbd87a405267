//! The `ctwatch` program: reads the command line, runs the command, and ends with the right status.

use std::process::ExitCode;

use clap::Parser as _;
use ctwatch::{
    cli::{Cli, Command},
    command::{
        advise, agent, apply, audit, block, blocklist, blocks, cap, changes, check, confirm,
        doctor, documents, events, look, record, replay, rollback, unblock, watch, watchdog,
    },
    exit::{CommandError, Exit},
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and version are no errors; clap knows which stream each belongs to. A closed one leaves
            // nobody to tell.
            drop(said.print());
            // A monitoring system reads standard output, and has a status of its own for wrong arguments.
            if said.use_stderr() && std::env::args().nth(1).is_some_and(|first| first == "check") {
                let why = said.to_string();
                let first = why.lines().next().unwrap_or_default();
                return ExitCode::from(check::unknown(first.trim_start_matches("error: ")) as u8);
            }
            return if said.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    match run(&cli.command) {
        Ok(status) => status,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Fine {
                look::say(&error.to_string());
            }
            exit.into()
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error).context("cannot start")))?;
    let ended = runtime.block_on(status(command));
    // A thread that still waits for a reader of the output must not keep the program.
    runtime.shutdown_background();
    ended
}

async fn status(command: &Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Watch(arguments) => watch::run(arguments).await,
        #[cfg(feature = "screen")]
        Command::Top(arguments) => ctwatch::command::top::run(arguments).await,
        Command::Audit(arguments) => audit::run(arguments).await,
        Command::Advise(arguments) => advise::run(arguments).await,
        Command::Doctor(arguments) => doctor::run(arguments).await,
        // A monitoring system has statuses of its own.
        Command::Check(arguments) => return Ok(ExitCode::from(check::run(arguments).await as u8)),
        Command::Apply(arguments) => apply::run(arguments).await,
        Command::Confirm(arguments) => confirm::run(arguments).await,
        Command::Rollback(arguments) => rollback::run(arguments).await,
        Command::Changes(arguments) => changes::run(arguments).await,
        Command::Watchdog(arguments) => watchdog::run(arguments),
        Command::Agent(arguments) => agent::run(arguments).await,
        Command::Completions(arguments) => documents::completions(arguments).await,
        Command::Man(arguments) => documents::man(arguments).await,
        Command::Record(arguments) => record::run(arguments).await,
        Command::Replay(arguments) => replay::run(arguments).await,
        Command::Blocklist(arguments) => blocklist::run(arguments).await,
        Command::Block(arguments) => block::run(arguments).await,
        Command::Cap(arguments) => cap::run(arguments).await,
        Command::Unblock(arguments) => unblock::run(arguments).await,
        Command::Blocks(arguments) => blocks::run(arguments).await,
        Command::Events(arguments) => events::run(arguments).await,
    }?;
    Ok(Exit::Fine.into())
}
