//! The `ctwatch` program: reads the command line, runs the command, and ends with the right status.

use std::process::ExitCode;

use clap::Parser as _;
use ctwatch::{
    cli::{Cli, Command},
    command::{
        advise, apply, audit, changes, confirm, doctor, events, look, rollback, watch, watchdog,
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
            return if said.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    match run(&cli.command) {
        Ok(()) => Exit::Fine.into(),
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Fine {
                look::say(&error.to_string());
            }
            exit.into()
        }
    }
}

fn run(command: &Command) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(anyhow::Error::new(error).context("cannot start")))?;
    let ended = runtime.block_on(async {
        match command {
            Command::Watch(arguments) => watch::run(arguments).await,
            #[cfg(feature = "screen")]
            Command::Top(arguments) => ctwatch::command::top::run(arguments).await,
            Command::Audit(arguments) => audit::run(arguments).await,
            Command::Advise(arguments) => advise::run(arguments).await,
            Command::Doctor(arguments) => doctor::run(arguments).await,
            Command::Apply(arguments) => apply::run(arguments).await,
            Command::Confirm(arguments) => confirm::run(arguments).await,
            Command::Rollback(arguments) => rollback::run(arguments).await,
            Command::Changes(arguments) => changes::run(arguments).await,
            Command::Watchdog(arguments) => watchdog::run(arguments),
            Command::Events(arguments) => events::run(arguments).await,
        }
    });
    // A thread that still waits for a reader of the output must not keep the program.
    runtime.shutdown_background();
    ended
}
