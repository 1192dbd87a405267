//! `ctwatch man` and `ctwatch completions`: what is made of the command line's own description, so that it never is out of date.

use std::io;

use clap::CommandFactory as _;

use super::look;
use crate::{
    cli::{Cli, CompletionsArguments, ManArguments},
    exit::CommandError,
};

/// The name that the shell knows it by.
const NAME: &str = "ctwatch";
/// What stands at the foot of a page.
const VERSION: &str = concat!("ctwatch ", env!("CARGO_PKG_VERSION"));

/// Prints the completions for a shell.
///
/// # Errors
///
/// If the output cannot be written.
pub async fn completions(arguments: &CompletionsArguments) -> Result<(), CommandError> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), NAME, &mut text);
    look::print(String::from_utf8_lossy(&text).into_owned()).await
}

/// Prints a manual page.
///
/// # Errors
///
/// If there is no such command, or the output cannot be written.
pub async fn man(arguments: &ManArguments) -> Result<(), CommandError> {
    let page = page(arguments.command.as_deref())?;
    look::print(page).await
}

fn page(name: Option<&str>) -> Result<String, CommandError> {
    let mut program = Cli::command();
    // So that a command's page shows how it is really called.
    program.build();
    let described = match name {
        None => program,
        Some(name) => command(&program, name)?,
    };
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(described).source(VERSION).render(&mut text);
    rendered.map_err(|error: io::Error| CommandError::Failed(error.into()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn command(program: &clap::Command, name: &str) -> Result<clap::Command, CommandError> {
    let shown = || program.get_subcommands().filter(|command| !command.is_hide_set());
    let found = shown().find(|command| command.get_name() == name);
    let Some(found) = found else {
        let names: Vec<&str> = shown().map(clap::Command::get_name).collect();
        return Err(CommandError::Usage(format!(
            "ctwatch has no command '{name}'; there are {}",
            names.join(", ")
        )));
    };
    Ok(found.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_shows_its_flags_and_examples() {
        let program = page(None).unwrap();
        assert!(program.starts_with(".ie") && program.contains(".SH NAME\nctwatch"), "{program}");
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let page = page(Some(name)).unwrap();
            assert!(page.contains(&format!("\\fBctwatch {name}\\fR")), "{page}");
            assert!(program.contains(&format!("ctwatch\\-{name}(1)")), "{name}");
        }
        let watch = page(Some("watch")).unwrap();
        assert!(watch.contains("\\-\\-interval") && watch.contains("Examples:"), "{watch}");
    }

    #[test]
    fn a_page_that_is_not_there_is_named() {
        let error = page(Some("wach")).unwrap_err();
        assert!(error.to_string().contains("'wach'; there are watch, "), "{error}");
        // It is nobody's business but ctwatch's.
        assert!(page(Some("watchdog")).is_err());
    }
}
