//! Arguments of `completions` and `man`.

use clap::Args;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// The command; without one the page of ctwatch itself
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}
