//! The lab binary as process 1 of a virtual machine: prepare the machine, do what the kernel's command line asks, say the
//! verdict, power off. It must not end in any other way: the kernel panics when process 1 ends.

mod bench;
mod command_line;
mod machine;
mod shell;
mod tests_of_kernel;
mod verdict;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, bail};

pub use command_line::{CommandLine, Mode, Part};
pub use verdict::Verdict;

/// Set inside the lab's virtual machine, for what runs there.
pub const INSIDE_LAB: &str = "CTWATCH_LAB";

/// Where this program lies in the machine.
pub const INIT: &str = "/init";
/// Where the binary under test lies in the machine.
pub const CTWATCH: &str = "/bin/ctwatch";
/// Where the tests lie in the machine.
pub const KERNEL_TESTS: &str = "/bin/kernel-tests";
/// The modules to load, an absolute path a line, each after those that it needs.
pub const MODULES_LIST: &str = "/etc/modules.list";

/// Whether this process runs inside the lab's own virtual machine, where global settings may be changed.
#[must_use]
pub fn inside_lab() -> bool {
    std::env::var_os(INSIDE_LAB).is_some()
}

/// Whether this process is the machine's first.
#[must_use]
pub fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Does all that the machine is for, and powers it off. It returns only if that fails.
pub fn run() {
    if let Err(error) =
        machine::begin_in_environment().and_then(|()| machine::prepare()).and_then(|()| obey())
    {
        say(&Verdict::Error(format!("{error:#}")).to_string());
    }
    machine::power_off();
}

fn obey() -> Result<()> {
    let command_line = CommandLine::parse(&std::fs::read_to_string("/proc/cmdline")?);
    machine::load_modules(Path::new(MODULES_LIST))?;
    match command_line.mode {
        Mode::Test => {
            let verdict = tests_of_kernel::run(&command_line.filters, command_line.part)?;
            say(&verdict.to_string());
            Ok(())
        }
        Mode::Shell => shell::run(&command_line.arguments),
        Mode::Bench => {
            say(&bench::run(&command_line.arguments)?.to_string());
            Ok(())
        }
        Mode::Unknown(mode) => {
            bail!("unknown ctwatch.mode={mode} on the kernel's command line: test, shell or bench")
        }
    }
}

/// Writes one line to the console.
fn say(line: &str) {
    let mut console = std::io::stdout().lock();
    let _unheard = writeln!(console, "{line}").and_then(|()| console.flush());
}
